"""What a task says about a failed job, whatever can still be read: its datums, and their logs from the server or from the pods."""

import json
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.errors import RetryPolicy
from airflow_pachyderm.client.failure import describe_failure
from airflow_pachyderm.client.pps import PpsClient
from airflow_pachyderm.connection import Cluster, PachydermConnection
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.dashboard.jobs import read_log
from airflow_pachyderm.outcome import JobOutcome
from airflow_pachyderm.states import JobState
from tests.airflow_pachyderm.kubernetes_api import KubernetesApi
from tests.airflow_pachyderm.scripted_pachd import ScriptedPachd, pfs_pb2, pps_pb2

JOB, DATUM = "a" * 32, "d" * 64
FAILED = JobOutcome("edges", JOB, JobState.FAILURE, "datum failed")
NO_PODS = (grpc.StatusCode.UNKNOWN, 'no pods belonging to the rc "edges" were found')


@pytest.fixture
def pachd() -> Iterator[ScriptedPachd]:
    """A server of the 2.12 line, whose job has one failed datum: commits without a branch, no Loki, no pod."""
    with ScriptedPachd() as pachd:
        commit = pfs_pb2.Commit(repo=pfs_pb2.Repo(name="images", type="user"), id=JOB)
        info = pps_pb2.DatumInfo(datum=pps_pb2.Datum(id=DATUM), data=[pfs_pb2.FileInfo(file=pfs_pb2.File(commit=commit, path="/a.jpg"))])
        pachd.script("ListDatum", [info])
        pachd.script("GetLogs", NO_PODS)
        yield pachd


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    with KubernetesApi() as api:
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", api.airflow_connection)
        yield api


def describe(pachd: ScriptedPachd, *, cluster: Cluster | None = None) -> str:
    there = PachydermConnection("pach", "127.0.0.1", pachd.port, cluster=cluster)
    server = Server(there, retry=RetryPolicy(deadline_seconds=0))
    try:
        return describe_failure(PpsClient(server), [FAILED])
    finally:
        server.close()


def test_failed_datums_are_named_when_no_log_can_be_read(pachd: ScriptedPachd) -> None:
    told = describe(pachd).splitlines()

    assert told[:2] == ["edges failure: datum failed", f"failed datum {DATUM[:16]} of edges: images:/a.jpg"]
    assert "(no log: " in told[2]
    assert "no pods belonging" in told[2]
    assert "fill in Kubernetes connection and namespace" in told[2]


def test_a_server_that_has_no_lines_says_so_without_a_guess_at_clusters(pachd: ScriptedPachd) -> None:
    pachd.script("GetLogs", [])

    assert describe(pachd).endswith(
        "(no log: it wrote nothing, or nobody kept it: without Loki, Pachyderm has only what living workers wrote)"
    )


def test_the_reason_stands_when_not_even_the_datums_can_be_listed(pachd: ScriptedPachd) -> None:
    pachd.script("ListDatum", (grpc.StatusCode.UNKNOWN, "the commit is forgotten"))

    told = describe(pachd)

    assert told.startswith("edges failure: datum failed\nits failed datums cannot be listed: ")
    assert "the commit is forgotten" in told


def test_the_pods_are_asked_where_the_connection_knows_the_cluster(pachd: ScriptedPachd, cluster: KubernetesApi) -> None:
    cluster.logs = {
        "edges-x1": "\n".join(
            [
                "plain words of a library",
                line(message="started process call", datumId=DATUM, ts="2026-11-28T10:00:00Z"),
                line(message="no camera", user=True, datumId=DATUM, ts="2026-11-28T10:00:01.5Z"),
                line(message="of another datum", user=True, datumId="e" * 64),
                line(message="of another job", user=True, datumId=DATUM, jobId="b" * 32),
            ]
        ),
        "plot-x2": line(message="of another pipeline", user=True, datumId=DATUM),
    }

    told = describe(pachd, cluster=Cluster("cluster", "pachyderm")).splitlines()

    assert told[2:] == ["  | no camera"]


@pytest.mark.parametrize(
    ("logs", "refusals", "said"),
    [
        ({}, {}, "pipeline edges has no pods now"),
        ({"edges-x1": "{}"}, {}, "the 1 pods of pipeline edges have no lines of it"),
        ({}, {"/api/v1/namespaces/pachyderm/pods": 403}, "Kubernetes says 403 .* needs the right to list pods and to read pods/log"),
    ],
)
def test_why_the_pods_have_no_log_is_said(
    pachd: ScriptedPachd, cluster: KubernetesApi, logs: dict[str, str], refusals: dict[str, int], said: str
) -> None:
    cluster.logs, cluster.refusals = logs, refusals

    told = describe(pachd, cluster=Cluster("cluster", "pachyderm"))

    assert f"failed datum {DATUM[:16]} of edges: images:/a.jpg" in told
    assert re.search(said, told)


@pytest.mark.parametrize(
    ("known", "logs", "messages", "note"),
    [
        (True, "no camera", ["no camera"], "these are from the pods of its workers"),
        (True, "", [], "there are none in its workers' pods: pipeline edges has no pods now"),
        (False, "", [], "without Loki it has only what living workers wrote"),
    ],
)
def test_the_page_shows_the_pods_log_or_why_there_is_none(
    pachd: ScriptedPachd, cluster: KubernetesApi, known: bool, logs: str, messages: list[str], note: str
) -> None:
    cluster.logs = {"edges-x1": line(message=logs, user=True, datumId=DATUM)} if logs else {}
    there = PachydermConnection("pach", "127.0.0.1", pachd.port, cluster=Cluster("cluster", "pachyderm") if known else None)

    log = read_log(Gateway(there), "edges", JOB, datum_id=DATUM)

    assert [shown.message for shown in log.lines] == messages
    assert note in log.note


def line(**fields: Any) -> str:
    return json.dumps({"severity": "info", "pipelineName": "edges", "projectName": "default", "jobId": JOB, **fields})
