"""Pachyderm's Helm release: installed with the wanted values by a Job in the cluster, or removed by one."""

import base64
import hashlib
import io
import json
import logging
import secrets
import tarfile
from collections.abc import Iterator
from typing import Any, Final

import jsonschema
import yaml

from dags.provisioning import manifests
from dags.provisioning.clients import LONGEST_ARCHIVE
from dags.provisioning.diagnosis import of_pachyderm, told, troubles
from dags.provisioning.errors import DifferentError, StackInvalidError, StepFailedError
from dags.provisioning.kube import Kube, Manifest
from dags.provisioning.outcome import Change, Done, Outcome, Pending
from dags.provisioning.stack import Stack

log = logging.getLogger(__name__)

JOB: Final = "job"
SEEN: Final = "seen"
CHART_FILE: Final = "chart.json"
SCHEMA_FILE: Final = "values.schema.json"


def ensure_release(kube: Kube, stack: Stack, progress: dict[str, str], *, archive: bytes | None, storage_key: str | None) -> Outcome:
    """Install the chart, or find it installed, with this stack's values.

    :param archive: The chart's archive, when it does not come from a repository or a registry that Helm can pull from.
    :param storage_key: JSON key of a Google service account for the bucket; None: the node's or workload's identity.
    :raises DifferentError: The release has other values, and ``upgrade`` was not asked for.
    :raises StackInvalidError: The archive is not the one with the given digest, or its schema refuses the values.
    :raises StepFailedError: Helm failed; its last lines follow.
    """
    if JOB in progress:
        return _settle(kube, stack, progress, installed=True)
    recorded = _recorded(kube, stack)
    values = manifests.values(stack, host_path=host_path(recorded))
    if archive is not None:
        check_archive(archive, stack, values)
    chart = {"chart": stack.release.chart, "version": stack.release.version, "sha256": stack.release.sha256}
    if differences := list(_changed(recorded, {"chart": chart, "values": values})):
        if not stack.release.allowed_upgrade:
            raise DifferentError("The Helm release pachyderm", differences, "set upgrade to change it, or change the Params to match it")
        log.info("upgrading the release: %s", "; ".join(differences))
    secret_text = _secret_values(kube, stack, storage_key)
    values_text = yaml.safe_dump(values, sort_keys=True)
    content = manifests.digest_of(values_text, secret_text, hashlib.sha256(archive or b"").hexdigest())
    wanted = manifests.install_job(stack, content_digest=content, archive=archive is not None)
    name: str = wanted["metadata"]["name"]
    found = kube.get("batch/v1", "Job", name, namespace=stack.namespace)
    if found and _state(found) == "Complete" and _is_installed(kube, stack):
        change = Change.of(found["metadata"]["labels"], run=stack.run)
        return Done(change=change, message=f"Helm release pachyderm is installed as wanted (Job {name})")
    if found and _state(found) in ("Complete", "Failed"):  # of an earlier try, or of a release that is gone since
        kube.delete("batch/v1", "Job", name, namespace=stack.namespace)
        return Pending(message=f"Job {name} of an earlier try is being removed")
    for manifest in (
        manifests.config_map(stack, manifests.VALUES, text={manifests.VALUES_FILE: values_text, CHART_FILE: json.dumps(chart)}),
        manifests.secret(stack, manifests.SECRET_VALUES, {manifests.VALUES_FILE: secret_text}),
        *([manifests.config_map(stack, manifests.CHART, data={manifests.CHART_FILE: archive})] if archive is not None else []),
        *([wanted] if not found else []),
    ):
        kube.ensure(manifest)
    return Pending(message=f"Helm installs Pachyderm {stack.release.version} in Job {name}", progress={JOB: name})


def remove_release(kube: Kube, stack: Stack, progress: dict[str, str], *, run: str) -> Outcome:
    """Uninstall the release and wait until Helm is done.

    :param run: Label of the run that asks.
    :raises StepFailedError: Helm failed; its last lines follow.
    """
    if JOB in progress:
        return _settle(kube, stack, progress, installed=False)
    if kube.get("v1", "ServiceAccount", manifests.INSTALLER, namespace=stack.namespace) is None:
        return Done(change=Change.ABSENT, message=f"Namespace {stack.namespace} has no Helm release of this stack")
    wanted = manifests.uninstall_job(stack, run=run)
    name: str = wanted["metadata"]["name"]
    found = kube.get("batch/v1", "Job", name, namespace=stack.namespace)
    if found and _state(found) == "Failed":
        kube.delete("batch/v1", "Job", name, namespace=stack.namespace)
        return Pending(message=f"Job {name} of an earlier try is being removed")
    if not found:
        kube.ensure(wanted)
    return _settle(kube, stack, {JOB: name}, installed=False)


def check_archive(archive: bytes, stack: Stack, values: dict[str, Any]) -> None:
    """Check the archive's digest, and the values against the schema that the chart carries.

    :raises StackInvalidError: Names both digests, or the value that the schema refuses.
    """
    release = stack.release
    if len(archive) > LONGEST_ARCHIVE:
        raise StackInvalidError(
            f"The chart {release.chart} has more than {LONGEST_ARCHIVE} bytes, too many for a ConfigMap: is it the chart's archive? "
            "A larger one Helm can pull itself, from an oci:// registry or an https:// chart repository"
        )
    digest = hashlib.sha256(archive).hexdigest()
    if digest != release.sha256:
        raise StackInvalidError(
            f"The chart {release.chart} has digest {digest}, not {release.sha256}: put the right archive there, or correct chart_sha256"
        )
    schema = _schema(archive)
    if schema is None:
        log.info("the chart %s carries no %s: Helm alone checks the values", release.chart, SCHEMA_FILE)
        return
    # The version of JSON Schema is given here, since the chart's own "$schema" names none that exists.
    for error in jsonschema.Draft7Validator(schema).iter_errors(values):
        raise StackInvalidError(f"The chart {release.chart} refuses the value {error.json_path}: {error.message}")


def _schema(archive: bytes) -> Any:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            member = next((member for member in tar if member.name.count("/") == 1 and member.name.endswith(f"/{SCHEMA_FILE}")), None)
            file = tar.extractfile(member) if member else None
            return json.load(file) if file else None
    except (tarfile.TarError, OSError, ValueError) as exc:
        raise StackInvalidError(f"The chart's archive cannot be read: {exc}; package it with helm package") from exc


def host_path(recorded: dict[str, Any] | None) -> str | None:
    """Where on the node the data of an installed release lies: it stays there, whatever a later version of this module would choose."""
    storage: dict[str, Any] = ((recorded or {}).get("values", {}).get("pachd") or {}).get("storage") or {}
    return (storage.get("local") or {}).get("hostPath")


def _recorded(kube: Kube, stack: Stack) -> dict[str, Any] | None:
    """Chart and values of the last installation; None when there was none."""
    found = kube.get("v1", "ConfigMap", manifests.VALUES, namespace=stack.namespace)
    if found is None or not _is_installed(kube, stack):
        return None
    return {"chart": json.loads(found["data"][CHART_FILE]), "values": yaml.safe_load(found["data"][manifests.VALUES_FILE])}


def _secret_values(kube: Kube, stack: Stack, storage_key: str | None) -> str:
    """The secret values: made once, then read back, since a new password or token would lock Pachyderm out of its own database."""
    found = kube.get("v1", "Secret", manifests.SECRET_VALUES, namespace=stack.namespace)
    if found is not None:
        values = yaml.safe_load(base64.b64decode(found["data"][manifests.VALUES_FILE]))
    else:
        oauth = secrets.token_hex(16)
        values = {
            "pachd": {
                "rootToken": secrets.token_hex(16),
                "enterpriseRootToken": secrets.token_hex(16),
                "enterpriseSecret": secrets.token_hex(16),
                "oauthClientSecret": secrets.token_hex(16),
                "clusterDeploymentID": secrets.token_hex(16),
            },
            "console": {"config": {"oauthClientSecret": oauth}},
            "global": {"postgresql": {"postgresqlPassword": secrets.token_hex(16), "postgresqlPostgresPassword": secrets.token_hex(16)}},
        }
    values["pachd"]["storage"] = {"google": {"cred": storage_key or ""}}
    return yaml.safe_dump(values, sort_keys=True)


def _changed(current: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Every value that would change: path, what it is, what was asked for. None of them is secret."""
    if current is None and not path:
        return
    if isinstance(current, dict) and isinstance(wanted, dict):
        for key in sorted({*current, *wanted}):
            yield from _changed(current.get(key), wanted.get(key), f"{path}.{key}" if path else key)
    elif current != wanted:
        yield f"{path} is {json.dumps(current)}, asked for {json.dumps(wanted)}"


def _settle(kube: Kube, stack: Stack, progress: dict[str, str], *, installed: bool) -> Outcome:
    """Look at Helm's Job: done, failed, or at work; in the last case with what keeps pods from running, which Helm does not say.

    :param progress: The Job's name, and what was last seen: when the Job's own time is up, its pod and the pod's log are gone.
    """
    name, seen = progress[JOB], progress.get(SEEN, "")
    doing, done = ("install", "installed") if installed else ("remove", "removed")
    found = kube.get("batch/v1", "Job", name, namespace=stack.namespace)
    if found is None:
        raise StepFailedError(
            f"Job {name}, in which Helm was to {doing} Pachyderm, is gone: someone deleted it; clear this task to start it again"
        )
    match _state(found):
        case "Complete":
            change = Change.CREATED if installed else Change.REMOVED
            return Done(change=change, message=f"Helm {done} release pachyderm in namespace {stack.namespace} (Job {name})")
        case "Failed":
            reason = next((c.get("message", "") for c in _conditions(found) if c["type"] == "Failed"), "")
            lines = _job_log(kube, stack, name)
            why = troubles(kube, stack.namespace, of_pachyderm, unready=True) if installed else []
            raise StepFailedError(
                f"Helm could not {doing} Pachyderm (Job {name}: {reason})."
                + (f" Its last lines:\n{lines}" if lines else f" Its pod is gone, and its log with it. Seen last:\n{seen or 'nothing'}")
                + (f"\nWhat does not run:\n{told(why)}" if why else "")
            )
    why = troubles(kube, stack.namespace, of_pachyderm)
    if any(trouble.is_hopeless for trouble in why):
        raise StepFailedError(f"Helm waits in Job {name}, and waiting cannot help. What does not run:\n{told(why)}")
    now = f"Helm is at work in Job {name}" + (f". What does not run yet:\n{told(why)}" if why else "")
    return Pending(message=now, progress={JOB: name, SEEN: told(why) or _job_log(kube, stack, name, lines=5) or seen})


def _job_log(kube: Kube, stack: Stack, name: str, *, lines: int = 40) -> str:
    pods = kube.objects("v1", "Pod", namespace=stack.namespace, labels=f"job-name={name}")
    return "\n".join(kube.logs(pod["metadata"]["name"], namespace=stack.namespace, lines=lines) for pod in pods).strip()


def _is_installed(kube: Kube, stack: Stack) -> bool:
    return kube.get("apps/v1", "Deployment", "pachd", namespace=stack.namespace) is not None


def _state(job: Manifest) -> str:
    """Complete, Failed, or Running."""
    return next((c["type"] for c in _conditions(job) if c["type"] in ("Complete", "Failed") and c["status"] == "True"), "Running")


def _conditions(job: Manifest) -> list[dict[str, str]]:
    return job.get("status", {}).get("conditions") or []
