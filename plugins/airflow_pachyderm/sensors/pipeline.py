"""Sensors about pipelines."""

from collections.abc import Sequence
from typing import Any

from airflow_pachyderm.arguments import check_words
from airflow_pachyderm.conditions import PipelineIn
from airflow_pachyderm.sensors.base import PachydermSensor
from airflow_pachyderm.states import PIPELINE_READY, PipelineState


class PachydermPipelineStateSensor(PachydermSensor):
    """Wait for a pipeline to be in one of some states; a pipeline that failed ends the wait.

    :param pipeline: Its name (templated).
    :param states: By default those in which it takes work: running or standby.
    :return: ``state``.
    """

    template_fields = ("pachyderm_conn_id", "pipeline")

    def __init__(self, *, pipeline: str, states: Sequence[str] = tuple(sorted(PIPELINE_READY)), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.states = tuple(str(state) for state in states)
        check_words(self.task_id, "states", self.states, tuple(PipelineState))

    def condition(self) -> PipelineIn:
        """See the class."""
        return PipelineIn(self.pipeline, self.states)
