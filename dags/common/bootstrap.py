"""What ``bootstrap_pipelines`` puts: model and rules where there are none, and in place of others only when that is asked for."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from airflow.sdk.exceptions import AirflowSkipException

from airflow_pachyderm.client.push import holds
from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermNotFoundError, PachydermSourceError
from airflow_pachyderm.files import Batch, SourceFile, open_filesystem
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.operators.owner import task_push
from airflow_pachyderm.specs import load_specs
from dags import settings
from dags.common.checks import check_model, check_rules, unloaded
from dags.common.mail import stage_spec
from dags.common.rotation import check_content, content_of, stage
from dags.common.sources import require_allowed
from dags.common.world import zone_of_pipeline
from stages.common.zones import DEFAULT, TIME_ZONE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Content:
    """A file that one of the input repos holds.

    :ivar what: Its repo, its Param and its setting.
    :ivar path: In the repo.
    :ivar check: Raises what is wrong with a file.
    :ivar rotation: The DAG that exchanges it.
    """

    what: str
    path: str
    check: Callable[[Path], None]
    rotation: str


CONTENTS: Final = (
    Content(settings.MODEL_REPO, settings.MODEL_PATH, check_model, "rotate_model"),
    Content(settings.RULES_REPO, settings.RULES_PATH, check_rules, "update_rules"),
)


def plan_bootstrap(context: Any, config: settings.Settings) -> dict[str, Any]:
    """Find out what is to be put, before anything is touched.

    :return: URL of each pipeline's spec; under ``model`` and ``rules`` the URL of the checked copy to put, None for what is kept; under
        ``warnings`` what a person should know.
    :raises PachydermSourceError: A file is not there.
    :raises PachydermInvalidError: A file is not what it should be, or the form names one that would replace another unasked.
    """
    found: dict[str, Any] = {"warnings": []}
    for pipeline, folder in settings.PIPELINES.items():
        found[pipeline] = f"{config.stages.rstrip('/')}/{folder}/pipeline.json"
        _require_file(found[pipeline], f"spec of pipeline {pipeline}")
    for pipeline in settings.ZONED:
        found[pipeline] = spec_in_zone(found[pipeline], staging=config.staging)
    found["warnings"] += zone_changes(PachydermHook(settings.PACHYDERM_CONN_ID))
    for content in CONTENTS:
        found[content.what] = _plan_content(context, config, content, found["warnings"])
    return found


def spec_in_zone(spec_url: str, *, staging: str) -> str:
    """A spec whose stage counts days and hours in the installation's time zone.

    :param spec_url: The spec as it ships.
    :param staging: URL of a folder, which all workers can read and write.
    :return: URL of the spec to use instead, or the same one where it is right as it is.
    """
    (spec,) = load_specs(spec_url)
    transform: dict[str, Any] = {**spec["transform"]}
    env: dict[str, str] = {**transform.get("env", {})}
    if env.get(TIME_ZONE, DEFAULT) == settings.TIMEZONE:
        return spec_url
    transform["env"] = {**env, TIME_ZONE: settings.TIMEZONE}
    return stage_spec({**spec, "transform": transform}, staging=staging)


def zone_changes(hook: PachydermHook) -> list[str]:
    """A sentence when the pipelines that there are count in another time zone: what they wrote so far stays as it was written."""
    pipelines = [pipeline for name in settings.ZONED if (pipeline := hook.pps.inspect_pipeline(name))]
    before = sorted({zone_of_pipeline(pipeline) for pipeline in pipelines} - {settings.TIMEZONE})
    if not before:
        return []
    told = f"Days and hours were those of {', '.join(before)}, and are those of {settings.TIMEZONE} from now on (TUSKWATCH_TIMEZONE)"
    return [f"{told}: the plot is drawn anew; what was mailed and reported stays"]


def _plan_content(context: Any, config: settings.Settings, content: Content, warnings: list[str]) -> str | None:
    params: Mapping[str, Any] = context["params"]
    what = content.what
    wanted = str(params[what] or "").strip()
    source = wanted or str(getattr(config, what))
    pfs = PachydermHook(settings.PACHYDERM_CONN_ID).pfs
    there = _has(pfs, content)
    if not source:
        if there:
            log.info("Repo %s keeps its %s: no other is named", what, content.path)
            return None
        raise PachydermInvalidError(
            f"No {what} is named: fill in {what.capitalize()} in the trigger form, or set the Airflow Variable tuskwatch_{what} or "
            f"TUSKWATCH_{what.upper()} to the path or URL of a {content.path.removeprefix('/')}"
        )
    if wanted:
        require_allowed(wanted, config, what=what.capitalize(), also=[config.model, config.rules])
    _require_file(source, what)
    if there and holds(pfs, what, "master", SourceFile(content.path, source)):
        log.info("Repo %s has the %s of %s already", what, content.path, source)
        return None
    if there and not params[f"replace_{what}"]:
        ways = f"to put {source} in its place tick Replace the {what} in the form of bootstrap_pipelines, or run {content.rotation}"
        if wanted:
            raise PachydermInvalidError(f"Repo {what} has another {content.path} than {source}, and nothing is replaced unasked: {ways}")
        warning = f"Repo {what} keeps its {content.path}, which is another than the setting tuskwatch_{what} names; {ways}"
        log.warning(warning)
        warnings.append(warning)
        return None
    data = content_of(source, what)
    if what == settings.MODEL_REPO and (warning := unloaded()):
        warnings.append(warning)
    check_content(data, content.check, name=content.path.removeprefix("/"), what=f"The {what} {source}")
    return stage(context, config, content.path, data)


def _has(pfs: Any, content: Content) -> bool:
    try:
        return pfs.inspect_file(content.what, "master", content.path) is not None
    except PachydermNotFoundError:  # not even the repo
        return False


def _require_file(url: str, what: str) -> None:
    filesystem, path = open_filesystem(url)
    try:
        found = filesystem.info(path)["type"] == "file"
    except (FileNotFoundError, NotADirectoryError):
        found = False
    except Exception as exc:  # each fsspec back end raises its own SDK's errors; this is their edge
        raise PachydermSourceError(f"Cannot read {url}: {exc}; check the path and who may read it", url=url) from exc
    if not found:
        raise PachydermSourceError(
            f"The {what} should come from {url}, which is no file that this worker can read; correct the path", url=url
        )


def put_content(context: Any, what: str, staged: str | None) -> str:
    """Put a checked copy.

    :param what: ``model`` or ``rules``.
    :param staged: Its URL, from :func:`plan_bootstrap`.
    :return: The commit's id.
    :raises AirflowSkipException: There is nothing to put, or somebody else has put something since the plan was made.
    """
    content = next(content for content in CONTENTS if content.what == what)
    if staged is None:
        raise AirflowSkipException(f"Repo {what} keeps what it has")
    pfs = PachydermHook(settings.PACHYDERM_CONN_ID).pfs
    file = SourceFile(content.path, staged)
    push = task_push(context, pfs, repo=what, branch="master", batch=Batch([file]))
    if not context["params"][f"replace_{what}"] and _has(pfs, content) and not holds(pfs, what, "master", file):
        raise AirflowSkipException(f"Repo {what} has got another {content.path} meanwhile, and nothing is replaced unasked")
    return push.run().commit_set
