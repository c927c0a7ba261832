"""Set Pachyderm up for Tuskwatch: the repos, the model, the rules and the four pipelines.

Safe to run at any time: what is there and the same is left as it is, so nothing is processed again. A changed model or rule file becomes a
new commit, a changed pipeline spec a new version. With a connection ``sendgrid_default`` (the API key as its password), threats are mailed.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, chain, cross_downstream, dag, get_current_context, task

from airflow_pachyderm.operators.file import PachydermPutFileOperator
from airflow_pachyderm.operators.pipeline import PachydermCreatePipelineOperator
from airflow_pachyderm.operators.repo import PachydermCreateRepoOperator
from dags import settings


@dag(
    schedule=None,
    catchup=False,
    tags=list(settings.TAGS),
    doc_md=__doc__,
    max_active_runs=1,
    default_args={"retries": settings.RETRIES, "retry_delay": timedelta(seconds=settings.RETRY_SECONDS)},
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
    },
)
def bootstrap_pipelines() -> None:
    """The DAG: see the module's text."""
    conn: dict[str, Any] = {"pachyderm_conn_id": settings.PACHYDERM_CONN_ID}

    @task
    def resolve() -> dict[str, Any]:
        """Find out what is to be put, before anything is touched."""
        from dags.common.inputs import without_retries
        from dags.common.sources import bootstrap_sources

        params: dict[str, Any] = dict(get_current_context()["params"])
        with without_retries():
            return bootstrap_sources(settings.load(), model=params["model"], rules=params["rules"])

    @task
    def mail(found: dict[str, str]) -> dict[str, str]:
        """Hand SendGrid's key on, where there is one; the pipelines' specs, with it mounted."""
        from dags.common.mail import put_key, spec_with_key

        if not put_key():
            return found
        return {**found, settings.THREAT_DETECT: spec_with_key(found[settings.THREAT_DETECT], staging=settings.load().staging)}

    sources: Any = resolve()
    specs: Any = mail(sources)
    repos = [
        PachydermCreateRepoOperator(task_id=f"create_repo_{repo}", repo=repo, description=description, **conn)
        for repo, description in settings.REPOS.items()
    ]
    put_model = PachydermPutFileOperator(
        task_id="put_model", repo=settings.MODEL_REPO, path=settings.MODEL_PATH, source=sources["model"], **conn
    )
    put_rules = PachydermPutFileOperator(
        task_id="put_rules", repo=settings.RULES_REPO, path=settings.RULES_PATH, source=sources["rules"], **conn
    )
    pipelines = [
        PachydermCreatePipelineOperator(task_id=f"create_pipeline_{pipeline.replace('-', '_')}", spec=specs[pipeline], **conn)
        for pipeline in settings.PIPELINES
    ]
    chain(sources, repos)
    cross_downstream(repos, [put_model, put_rules])
    chain([put_model, put_rules], *pipelines)


bootstrap_pipelines()
