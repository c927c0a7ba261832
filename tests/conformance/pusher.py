"""A push in a process of its own, for tests that kill it: ``python -m tests.conformance.pusher CONN_ID REPO URL KEY``."""

import sys

from airflow_pachyderm.client.push import Push
from airflow_pachyderm.files import Batch, list_folder
from airflow_pachyderm.hooks.pachyderm import PachydermHook

if __name__ == "__main__":
    conn_id, repo, url, key = sys.argv[1:]
    batch = Batch(list(list_folder(url)))
    Push(PachydermHook(conn_id).pfs, repo=repo, branch="master", key=key, batch=batch).run()
