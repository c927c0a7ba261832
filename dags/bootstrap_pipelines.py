"""Set Pachyderm up for Tuskwatch: the repos, the model, the rules and the four pipelines.

Safe to run at any time: what is there is left as it is, so nothing is processed again. Model and rules are put where there are none; where
Pachyderm holds others than the settings name, they stay, and the run says so. *Replace the model* and *Replace the rules* put those of the
form or the settings in their place. A changed pipeline spec becomes a new version. With a connection ``sendgrid_default`` (the API key as
its password), threats are mailed.
"""

from typing import Any

from airflow.sdk import Param, chain, cross_downstream, dag, get_current_context, task

from airflow_pachyderm.operators.pipeline import PachydermCreatePipelineOperator
from airflow_pachyderm.operators.repo import PachydermCreateRepoOperator
from dags import settings
from dags.common.failed import task_defaults
from dags.common.links import with_links


@dag(
    schedule=None,
    catchup=False,
    tags=list(settings.TAGS),
    doc_md=__doc__,
    max_active_runs=1,
    default_args=task_defaults(),
    params={
        "model": Param(
            None,
            type=["null", "string"],
            title="Model",
            description="Frozen graph (frozen_inference_graph.pb), a path or URL that workers read. Empty: the setting tuskwatch_model.",
        ),
        "rules": Param(
            None,
            type=["null", "string"],
            title="Rules",
            description="Rule file, a path or URL. Empty: the setting tuskwatch_rules, which is stages/threat_detect/rule.json at first.",
        ),
        "replace_model": Param(
            False,
            type="boolean",
            title="Replace the model",
            description="Put the model also where there is another one already. All images are then looked at again.",
        ),
        "replace_rules": Param(
            False,
            type="boolean",
            title="Replace the rules",
            description="Put the rules also where there are others already. All images are then judged again.",
        ),
    },
)
def bootstrap_pipelines() -> None:
    """The DAG: see the module's text."""
    conn: dict[str, Any] = {"pachyderm_conn_id": settings.PACHYDERM_CONN_ID}

    @task
    def resolve() -> dict[str, Any]:
        """Find out what is to be put, before anything is touched."""
        from dags.common.bootstrap import plan_bootstrap
        from dags.common.inputs import without_retries

        with without_retries():
            return plan_bootstrap(get_current_context(), settings.load())

    @task
    def mail(found: dict[str, Any]) -> dict[str, Any]:
        """Hand SendGrid's key on, where there is one; the pipelines' specs, with it mounted."""
        from dags.common.mail import put_key, spec_with_key

        if not put_key():
            return found
        return {**found, settings.THREAT_DETECT: spec_with_key(found[settings.THREAT_DETECT], staging=settings.load().staging)}

    @task
    def put(what: str, staged: str | None) -> str:
        """Put the copy that was checked."""
        from dags.common.bootstrap import put_content

        return put_content(get_current_context(), what, staged)

    @task
    def report(found: dict[str, Any]) -> dict[str, Any]:
        """Say what was kept, and what of rules and settings can have no effect."""
        from dags.common.tell import report_bootstrap

        return report_bootstrap(get_current_context(), settings.load(), found)

    sources: Any = resolve()
    specs: Any = mail(sources)
    repos = [
        PachydermCreateRepoOperator(task_id=f"create_repo_{repo}", repo=repo, description=description, **conn)
        for repo, description in settings.REPOS.items()
    ]
    puts = [put.override(task_id=f"put_{what}")(what, sources[what]) for what in (settings.MODEL_REPO, settings.RULES_REPO)]
    pipelines = [
        PachydermCreatePipelineOperator(
            task_id=f"create_pipeline_{pipeline.replace('-', '_')}",
            spec=specs[pipeline],
            reprocess_on_change=pipeline == settings.PLOT,  # one datum: what changed is drawn at once
            trigger_rule="none_failed",  # what is kept is not put: its task is skipped
            **conn,
        )
        for pipeline in settings.PIPELINES
    ]
    chain(sources, repos)
    cross_downstream(repos, puts)
    chain(puts, *pipelines, with_links(report(sources)))


bootstrap_pipelines()
