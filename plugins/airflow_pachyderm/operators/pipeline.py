"""Operators about pipelines and the secrets that they mount."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_pachyderm.arguments import check_flags, check_useless
from airflow_pachyderm.exceptions import PachydermInvalidError
from airflow_pachyderm.operators.base import PachydermOperator
from airflow_pachyderm.specs import parse_specs, read_spec

if TYPE_CHECKING:
    from airflow.sdk import Context


class PachydermCreatePipelineOperator(PachydermOperator):
    """Create the pipelines of a spec file, or update those that differ from it.

    A pipeline that was made from the same spec is left as it is: no new version, no new job.

    :param spec: Path or URL of a pipeline spec, JSON or YAML, one or many (templated); or the spec itself as a mapping, or a list of them,
        whose texts are templated.
    :param render: Render the content of the file as a template too, before it is read: ``{{ params.image }}``, ``{{ var.value.bucket }}``.
    :param update: Whether an existing pipeline may be changed. If not, and it differs, the task fails.
    :param reprocess: On an update, process again also what was processed before. Without it only new data meets the new code.
        A pipeline whose spec is the same is updated, too.
    :param reprocess_on_change: The same, but a pipeline whose spec is the same is left as it is.
    :return: By pipeline: ``created``, ``updated``, or ``unchanged``.
    :raises PachydermInvalidError: The file is not JSON or YAML, or has a field that Pachyderm does not know; names both.
    """

    template_fields = ("pachyderm_conn_id", "spec")

    def __init__(
        self,
        *,
        spec: str | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        render: bool = False,
        update: bool = True,
        reprocess: bool = False,
        reprocess_on_change: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_flags(self.task_id, render=render, update=update, reprocess=reprocess, reprocess_on_change=reprocess_on_change)
        useless = {
            "render is for the content of a file, and spec is no path: its texts are templated anyway": render
            and isinstance(spec, Mapping),
            "nothing is ever processed again without an update: give update, or no reprocess": not update
            and (reprocess or reprocess_on_change),
            "spec is empty, so no pipeline would ever be made": not spec,
        }
        check_useless(self.task_id, useless)
        self.spec = spec
        self.render = render
        self.update = update
        self.reprocess = reprocess
        self.reprocess_on_change = reprocess_on_change

    def execute(self, context: "Context") -> dict[str, str]:
        """Create or update, in the file's order."""
        done = {}
        called = self.spec if isinstance(self.spec, str) else f"of task {self.task_id}"
        for spec in self._specs(context):
            again = {"reprocess": self.reprocess, "reprocess_on_change": self.reprocess_on_change}
            name, what = self.hook.pps.create_pipeline(spec, name=called, update=self.update, **again)
            self.log.info("Pipeline %s: %s", name, what)
            done[name] = what
        return done

    def _specs(self, context: "Context") -> list[dict[str, Any]]:
        if isinstance(self.spec, str):
            text = read_spec(self.spec)
            return parse_specs(self._rendered(text, context) if self.render else text, name=self.spec)
        return [dict(spec) for spec in ([self.spec] if isinstance(self.spec, Mapping) else self.spec)]

    def _rendered(self, text: str, context: "Context") -> str:
        from jinja2 import TemplateError

        try:
            # By the environment: render_template would take a text that ends in .json for the name of a file.
            return self.get_template_env().from_string(text).render(context)
        except TemplateError as exc:
            raise PachydermInvalidError(f"Pipeline spec {self.spec} cannot be rendered: {exc}") from exc


class _OnePipelineOperator(PachydermOperator):
    """Base of the operators that do one thing to one pipeline.

    :param pipeline: Its name (templated).
    """

    template_fields = ("pachyderm_conn_id", "pipeline")

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline


class PachydermDeletePipelineOperator(_OnePipelineOperator):
    """Delete a pipeline with its jobs and its output repo; one that is not there is no error.

    :param pipeline: Its name (templated).
    :param force: Also when other pipelines read its output.
    :param keep_repo: Keep the output repo and its data.
    :raises PachydermConflictError: Other pipelines read its output, and ``force`` is False.
    """

    def __init__(self, *, force: bool = False, keep_repo: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_flags(self.task_id, force=force, keep_repo=keep_repo)
        self.force = force
        self.keep_repo = keep_repo

    def execute(self, context: "Context") -> None:  # noqa: ARG002 - Airflow's signature
        """Delete it."""
        self.hook.pps.delete_pipeline(self.pipeline, force=self.force, keep_repo=self.keep_repo)
        self.log.info("Pipeline %s is deleted", self.pipeline)


class PachydermStartPipelineOperator(_OnePipelineOperator):
    """Let a stopped pipeline work again, beginning with what came meanwhile.

    :param pipeline: Its name (templated).
    :raises PachydermNotFoundError: There is none.
    """

    def execute(self, context: "Context") -> None:  # noqa: ARG002 - Airflow's signature
        """Start it."""
        self.hook.pps.start_pipeline(self.pipeline)
        self.log.info("Pipeline %s is started", self.pipeline)


class PachydermStopPipelineOperator(_OnePipelineOperator):
    """Stop a pipeline: its running jobs are killed, new data waits for the start.

    :param pipeline: Its name (templated).
    """

    def execute(self, context: "Context") -> None:  # noqa: ARG002 - Airflow's signature
        """Stop it."""
        self.hook.pps.stop_pipeline(self.pipeline)
        self.log.info("Pipeline %s is stopped", self.pipeline)


class PachydermRunCronOperator(_OnePipelineOperator):
    """Tick every cron input of a pipeline now, whatever its schedule.

    :param pipeline: Its name (templated).
    :raises PachydermInvalidError: It has no cron input.
    """

    def execute(self, context: "Context") -> None:  # noqa: ARG002 - Airflow's signature
        """Tick."""
        self.hook.pps.run_cron(self.pipeline)
        self.log.info("Ticked the cron inputs of pipeline %s", self.pipeline)


class PachydermCreateSecretOperator(PachydermOperator):
    """Create a secret for pipelines from an Airflow connection, or replace it, so that a key is kept in one place.

    :param secret: Name of the secret (templated).
    :param source_conn_id: Airflow connection that the values come from (templated).
    :param fields: Which of its fields goes under which key of the secret: ``{"SENDGRID_API_KEY": "password"}``; ``extra.<name>`` is a
        field of the extra.
    :raises PachydermInvalidError: The connection has no such field, or it is empty.
    """

    template_fields = ("pachyderm_conn_id", "secret", "source_conn_id")

    def __init__(self, *, secret: str, source_conn_id: str, fields: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_useless(self.task_id, {"fields is empty, so the secret would hold nothing": not fields})
        self.secret = secret
        self.source_conn_id = source_conn_id
        self.fields = dict(fields)

    def execute(self, context: "Context") -> None:  # noqa: ARG002 - Airflow's signature
        """Read the connection, then create or replace the secret. No value is logged."""
        conn = BaseHook.get_connection(self.source_conn_id)
        data = {key: self._field(conn, field) for key, field in self.fields.items()}
        self.hook.pps.create_secret(self.secret, data)
        self.log.info("Secret %s has %d keys from connection %s", self.secret, len(data), self.source_conn_id)

    def _field(self, conn: Any, field: str) -> str:
        extra = field.removeprefix("extra.")
        value = conn.extra_dejson.get(extra) if extra != field else getattr(conn, field, None)
        if value is None or value == "" or callable(value):
            raise PachydermInvalidError(
                f"Connection {self.source_conn_id} has no value in {field}, which secret {self.secret} needs; fill it in"
            )
        return str(value)
