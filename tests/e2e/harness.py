"""The running stack as the end-to-end tests use it."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from laptop.airflow import Airflow
from laptop.stack import Stack

RUN_SECONDS = 240.0


@dataclasses.dataclass
class Site:
    """The running stack, and what the tests do with it again and again."""

    stack: Stack
    airflow: Airflow
    _numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def start(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run as the UI's button does; its id."""
        self.airflow.wait_for_dag(dag_id, timeout=60)
        self.airflow.unpause(dag_id)
        return self.airflow.trigger(dag_id, conf=conf, run_id=f"test_{next(self._numbers)}")

    def finish(self, dag_id: str, run_id: str) -> None:
        """Return when the run has ended well; fail with the logs of what failed."""
        for counts in self.airflow.watch(dag_id, run_id, timeout=RUN_SECONDS):
            logging.getLogger(__name__).info("%s %s: %s", dag_id, run_id, counts)

    def run(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        run_id = self.start(dag_id, conf)
        self.finish(dag_id, run_id)
        return run_id
