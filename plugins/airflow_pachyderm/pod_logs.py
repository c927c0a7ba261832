"""What user code wrote, read from the workers' pods: a Pachyderm without Loki keeps no logs of its own."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from airflow_pachyderm.connection import Cluster
from airflow_pachyderm.exceptions import PachydermError, PachydermUnavailableError

_CONTAINER: Final = "user"
_LINES: Final = 20_000  # of each pod: its last jobs
_TIMEOUT_SECONDS: Final = 15.0


@dataclass(frozen=True)
class LogLine:
    """A line of a worker's log.

    :ivar time: Seconds since the Unix epoch.
    :ivar user: Written by user code, not by the worker about it.
    """

    time: float | None
    worker: str
    datum: str
    user: bool
    message: str


def read_pod_logs(cluster: Cluster, *, project: str, pipeline: str, job: str, datum: str = "") -> list[LogLine]:
    """What the pods of a pipeline still have of a job, in order of time; what pods wrote that are gone is lost.

    :param datum: Only of this datum.
    :raises PachydermError: They cannot be read, or have nothing of it: says why.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        core = _core(cluster)
        labels = f"app=pipeline,pipelineName={pipeline},pipelineProject={project}"
        pods = core.list_namespaced_pod(cluster.namespace, label_selector=labels, _request_timeout=_TIMEOUT_SECONDS).items
        lines = [line for pod in pods for line in _lines(core, cluster, pod.metadata.name, job=job, datum=datum)]
    except ApiException as exc:
        rights = f"; the Kubernetes connection needs the right to list pods and to read pods/log in namespace {cluster.namespace}"
        raise PachydermError(f"Kubernetes says {exc.status} {exc.reason}{rights if exc.status == 403 else ''}") from exc
    except HTTPError as exc:
        raise PachydermUnavailableError(f"Kubernetes does not answer: {exc}") from exc
    if not pods:
        raise PachydermError(f"pipeline {pipeline} has no pods now, and their logs go with them")
    if not lines:
        raise PachydermError(f"the {len(pods)} pods of pipeline {pipeline} have no lines of it: they are newer, or have written much since")
    return sorted(lines, key=lambda line: line.time or 0.0)


def _core(cluster: Cluster) -> Any:
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from airflow.sdk.exceptions import AirflowException

    try:
        return KubernetesHook(conn_id=cluster.conn_id).core_v1_client
    except AirflowException as exc:
        raise PachydermError(f"Airflow connection {cluster.conn_id} cannot be used: {exc}") from exc


def _lines(core: Any, cluster: Cluster, pod: str, *, job: str, datum: str) -> Iterator[LogLine]:
    # Not as text: the client would give the bytes as Python shows them.
    answer = core.read_namespaced_pod_log(
        pod, cluster.namespace, container=_CONTAINER, tail_lines=_LINES, _preload_content=False, _request_timeout=_TIMEOUT_SECONDS
    )
    for text in answer.data.decode("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError, AttributeError):  # a worker writes JSON, one object a line; anything else is of no job
            fields = json.loads(text)
            if fields.get("jobId") == job and datum in ("", fields.get("datumId")):
                yield LogLine(
                    time=_time(fields.get("ts")),
                    worker=str(fields.get("workerId", pod)),
                    datum=str(fields.get("datumId", "")),
                    user=bool(fields.get("user")),
                    message=str(fields.get("message", "")).rstrip("\n"),
                )


def _time(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
