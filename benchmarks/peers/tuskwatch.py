"""This project as one of the peers: with Airflow, as people use it, and the engine with the operators' client alone."""

import dataclasses
from pathlib import Path

from benchmarks.peers.world import FOLDERS, Step, World
from benchmarks.site import Clients, Site
from laptop import demo
from laptop.layout import Layout, free_port
from laptop.stack import new_stack, start_stack


def download(clients: Clients, target: Path) -> None:
    """The head of every pipeline's repo."""
    for repo in FOLDERS:
        for path in clients.files(repo):
            file = target / repo / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(clients.pfs.read_file(repo, "master", path))


class Tuskwatch:
    """Airflow and minipachd, as ``make up`` starts them: a DAG run for each step."""

    name = "Tuskwatch"
    how = "push_images, update_rules, rotate_model in Airflow; minipachd runs what is new"

    def __init__(self, world: World) -> None:
        self._world = world
        self._stack = new_stack(Layout(world.root / "stack"))
        self._stack.airflow = dataclasses.replace(self._stack.airflow, port=free_port())
        self._stack.pachd_address = f"127.0.0.1:{free_port()}"
        settings = {
            "TUSKWATCH_MODEL": str(world.graph),
            "TUSKWATCH_RULES": str(world.rules),
            "TUSKWATCH_RESULTS": str(world.root / "results"),
            "TUSKWATCH_SOURCES": str(world.root),
            "TUSKWATCH_STAGING": str(world.root / "staging"),
        }
        try:
            start_stack(self._stack, extra=settings)
            self._airflow = self._stack.client()
            demo.bootstrap(self._airflow)
            for dag_id in (demo.PUSH, "update_rules", "rotate_model"):
                self._airflow.wait_for_dag(dag_id, timeout=120)
                self._airflow.unpause(dag_id)
        except BaseException:
            self._stack.stop()
            raise
        self._clients = Clients(self._stack.pachd_address, token=self._stack.pachd_token)

    def run(self, step: Step) -> None:
        match step:
            case Step.FIRST | Step.MORE:
                demo.run(self._airflow, demo.PUSH, {"source": str(self._world.delivery(step))})
            case Step.RULES:
                demo.run(self._airflow, "update_rules", {"source": str(self._world.rules)})
            case Step.MODEL:
                demo.run(self._airflow, "rotate_model", {"source": str(self._world.graph)})

    def outputs(self, target: Path) -> None:
        download(self._clients, target)

    def close(self) -> None:
        self._clients.close()
        self._stack.stop()


class EngineAlone:
    """minipachd, and the client that the operators are made of; no Airflow."""

    name = "minipachd without Airflow"
    how = "one commit for each step; minipachd runs what is new"

    def __init__(self, world: World) -> None:
        self._world = world
        self._site = Site(world.root / "minipachd")
        self._site.create_pipelines(world.graph, world.rules)

    def run(self, step: Step) -> None:
        match step:
            case Step.FIRST | Step.MORE:
                self._site.push_images(sorted(self._world.delivery(step).iterdir()))
            case Step.RULES:
                self._site.settle(self._site.push("rules", {"/rule.json": self._world.rules}))
            case Step.MODEL:
                self._site.settle(self._site.push("model", {"/frozen_inference_graph.pb": self._world.graph}))

    def outputs(self, target: Path) -> None:
        download(self._site, target)

    def close(self) -> None:
        self._site.close()
        self._site.stop()
