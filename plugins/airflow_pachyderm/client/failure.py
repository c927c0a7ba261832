"""What a person needs to know about failed jobs, put together from whatever can still be read."""

from collections.abc import Sequence
from typing import Final

from airflow_pachyderm.client.pps import PpsClient
from airflow_pachyderm.exceptions import PachydermError
from airflow_pachyderm.outcome import JobOutcome
from airflow_pachyderm.pod_logs import read_pod_logs

NOT_KEPT: Final = "it wrote nothing, or nobody kept it: without Loki, Pachyderm has only what living workers wrote"
NO_CLUSTER: Final = "to have it read from the workers' pods, fill in Kubernetes connection and namespace of the Airflow connection"


def describe_failure(pps: PpsClient, jobs: Sequence[JobOutcome], *, datums: int = 3, lines: int = 20) -> str:
    """Reasons, the inputs of the first failed datums, and the end of their logs. What cannot be read is replaced by the cause.

    :param jobs: The failed ones, the cause first.
    :param datums: How many datums of the first job to look into.
    :param lines: How many log lines of each.
    """
    parts = [f"{job.pipeline} {job.state.value}: {job.reason or 'no reason given'}" for job in jobs]
    first = jobs[0]
    try:
        found = pps.failed_datums(first.pipeline, first.job, limit=datums)
    except PachydermError as exc:
        found = []
        parts.append(f"its failed datums cannot be listed: {exc}")
    causes: set[str] = set()
    for datum in found:
        parts.append(f"failed datum {datum.id[:16]} of {first.pipeline}: {', '.join(datum.inputs) or 'no inputs'}")
        parts += _log(pps, first, datum=datum.id, lines=lines, causes=causes)
    if not found:
        parts += _log(pps, first, datum="", lines=lines, causes=causes)
    return "\n".join(parts)


def _log(pps: PpsClient, job: JobOutcome, *, datum: str, lines: int, causes: set[str]) -> list[str]:
    """The end of a log, indented; or why there is none, which is said once and then not asked for again."""
    if causes:
        return []
    try:
        return [f"  | {line}" for line in user_log(pps, job.pipeline, job.job, datum=datum, lines=lines)]
    except PachydermError as exc:
        causes.add(str(exc))
        return [f"  (no log: {exc})"]


def user_log(pps: PpsClient, pipeline: str, job: str, *, datum: str = "", lines: int) -> list[str]:
    """The last lines that user code wrote, oldest first: from the server, or else from the pods where the connection knows the cluster.

    :param datum: Only of this datum.
    :raises PachydermError: There are none: says why.
    """
    try:
        if found := pps.log_tail(pipeline, job, datum=datum, lines=lines):
            return found
        why, cluster = NOT_KEPT, pps.connection.cluster
    except PachydermError as exc:
        why, cluster = str(exc), pps.connection.cluster
        if cluster is None:
            raise PachydermError(f"{why}; {NO_CLUSTER}") from exc
    if cluster is None:
        raise PachydermError(why)
    try:
        written = read_pod_logs(cluster, project=pps.connection.project, pipeline=pipeline, job=job, datum=datum)
    except PachydermError as exc:
        raise PachydermError(f"{why}; {exc}") from exc
    return [line.message for line in written if line.user][-lines:]
