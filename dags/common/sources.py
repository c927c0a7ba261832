"""Which files the DAGs put, checked while it costs nothing to say so."""

from airflow_pachyderm.exceptions import PachydermSourceError
from airflow_pachyderm.files import open_filesystem
from dags.common.checks import check_rules
from dags.common.rotation import check_content, content_of
from dags.settings import PIPELINES, RULES_PATH, RULES_REPO, Settings


def bootstrap_sources(settings: Settings, *, model: str | None, rules: str | None) -> dict[str, str]:
    """URLs of the model, the rules and each pipeline's spec.

    :param model: From the form, instead of the setting.
    :param rules: Likewise.
    :raises PachydermSourceError: No model is named, or one of the files is not there.
    :raises PachydermInvalidError: The rule file is not JSON, or has a key that threat-detect does not know.
    """
    model = model or settings.model
    if not model:
        raise PachydermSourceError(
            "No model is named: fill in Model in the trigger form, or set the Airflow Variable tuskwatch_model or TUSKWATCH_MODEL to the "
            "path or URL of a frozen_inference_graph.pb",
            url="",
        )
    urls = {"model": model, "rules": rules or settings.rules}
    urls |= {pipeline: f"{settings.stages.rstrip('/')}/{folder}/pipeline.json" for pipeline, folder in PIPELINES.items()}
    for what, url in urls.items():
        filesystem, path = open_filesystem(url)
        if not filesystem.isfile(path):
            kind = what if what in ("model", "rules") else f"spec of pipeline {what}"
            raise PachydermSourceError(
                f"The {kind} should come from {url}, which is no file that this worker can read; correct the path", url=url
            )
    rules_url = urls["rules"]
    check_content(content_of(rules_url, RULES_REPO), check_rules, name=RULES_PATH.removeprefix("/"), what=f"The rule file {rules_url}")
    return urls
