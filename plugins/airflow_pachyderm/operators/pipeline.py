"""Operators about pipelines."""

from typing import TYPE_CHECKING, Any

from airflow_pachyderm.operators.base import PachydermOperator
from airflow_pachyderm.specs import load_specs

if TYPE_CHECKING:
    from airflow.sdk import Context


class PachydermCreatePipelineOperator(PachydermOperator):
    """Create the pipelines of a spec file, or update those that differ from it.

    A pipeline that was made from the same spec is left as it is: no new version, no new job.

    :param spec: Path or URL of a pipeline spec, JSON or YAML, one or many (templated).
    :param update: Whether an existing pipeline may be changed. If not, and it differs, the task fails.
    :param reprocess: On an update, process again also what was processed before. Without it only new data meets the new code.
    :return: By pipeline: ``created``, ``updated``, or ``unchanged``.
    :raises PachydermInvalidError: The file is not JSON or YAML, or has a field that Pachyderm does not know; names both.
    """

    template_fields = ("pachyderm_conn_id", "spec")

    def __init__(self, *, spec: str, update: bool = True, reprocess: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.update = update
        self.reprocess = reprocess

    def execute(self, context: "Context") -> dict[str, str]:  # noqa: ARG002 - Airflow's signature
        """Create or update, in the file's order."""
        done = {}
        for spec in load_specs(self.spec):
            name, what = self.hook.pps.create_pipeline(spec, name=self.spec, update=self.update, reprocess=self.reprocess)
            self.log.info("Pipeline %s: %s", name, what)
            done[name] = what
        return done
