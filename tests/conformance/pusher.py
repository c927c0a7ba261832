"""Pushes in processes of their own, for tests that kill them."""

import multiprocessing
from multiprocessing.context import ForkServerProcess
from typing import Any

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.push import Push
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.files import Batch, list_folder

_processes = multiprocessing.get_context("forkserver")


def prepare() -> None:
    """Begin to import what a push needs, once and beside what else goes on: with Airflow it takes seconds."""
    from multiprocessing import forkserver

    _processes.set_forkserver_preload([__name__])
    forkserver.ensure_running()


def start(*push: Any) -> ForkServerProcess:
    """A process that pushes; the arguments are those of :func:`run`."""
    process = _processes.Process(target=run, args=push)
    process.start()
    return process


def run(connection: PachydermConnection, repo: str, url: str, key: str) -> None:
    """Push the files of a folder to ``master``."""
    batch = Batch(list(list_folder(url)))
    Push(PfsClient(Server(connection)), repo=repo, branch="master", key=key, batch=batch).run()
