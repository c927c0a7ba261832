"""The report of check_stack, and how to get in."""

import json

import pytest

from dags.provisioning.clients import Clients
from dags.provisioning.report import check, summary, way_in
from dags.provisioning.stack import Stack
from tests.provisioning.conftest import Cloud, existing_stack, finish, provision, stack
from tests.provisioning.fake_kubernetes import Fault


def report(wanted: Stack) -> tuple[str, list[str]]:
    found = check(Clients(wanted), with_cluster=True)
    return str(found), [problem for problem in found.problems if "127.0.0.1:9" not in problem]  # nothing listens there


def test_a_well_stack_is_described_in_full(cloud: Cloud) -> None:
    provision(stack())
    text, problems = report(stack())
    assert problems == []
    for part in (
        "cluster tuskwatch is RUNNING",
        "node node-1 is ready",
        "pachd 1/1 ready",
        "chart 2.11.6",
        "data-postgres-0 Bound, 20Gi, 30% used",
    ):
        assert part in text


def test_what_is_wrong_is_a_problem_each(cloud: Cloud) -> None:
    wanted = existing_stack()
    provision(wanted)
    objects = cloud.existing.objects
    objects["deployments", "tuskwatch", "pachd"]["status"]["readyReplicas"] = 0
    cloud.existing.stuck_pods = "pachd"
    objects["nodes", "", "node-1"]["status"]["conditions"] = []
    objects["persistentvolumeclaims", "tuskwatch", "data-postgres-0"]["status"] = {"phase": "Lost"}
    crash = {"containerStatuses": [{"name": "pachd", "restartCount": 9, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}
    cloud.existing.put("pods", "pachd-abc", {"status": crash}, namespace="tuskwatch")
    text, problems = report(wanted)
    assert [problem.split()[0:3] for problem in problems] == [
        ["node", "node-1", "is"],
        ["pachd", "0/1", "ready,"],
        ["pod", "pachd-abc,", "container"],
        ["data-postgres-0", "Lost,", "no"],
    ]
    assert text.count("!!") == 5  # and Pachyderm


def test_pods_that_pachd_starts_as_work_comes_are_no_problem_while_they_start(cloud: Cloud) -> None:
    """Pachyderm 2.12 has a Deployment pachw, which it scales from 0 to 1 and back."""
    wanted = existing_stack()
    provision(wanted)
    spec = {"replicas": 1, "template": {"spec": {"containers": [{"name": "pachw", "image": "pachyderm/pachd:2.12.0"}]}}}
    cloud.existing.stuck_pods = "pachw"
    cloud.existing.put("deployments", "pachw", {"spec": spec, "status": {"readyReplicas": 0}}, namespace="tuskwatch")
    text, problems = report(wanted)
    assert "ok pachw 0/1 ready" in text
    assert problems == []
    finish("pods", wanted)


@pytest.mark.parametrize("status", [500, 403])
def test_disk_figures_that_cannot_be_read_are_no_problem(cloud: Cloud, status: int) -> None:
    wanted = existing_stack()
    provision(wanted)
    cloud.existing.faults.append(Fault("GET", "/proxy/stats/summary", status, times=9))
    text, problems = report(wanted)
    assert problems == []
    assert "data-postgres-0 Bound, 20Gi, use not known" in text
    assert ("?? how full the volumes on node node-1 are cannot be read" in text) is (status == 500)


def test_pachyderm_that_does_not_answer_is_a_problem(cloud: Cloud) -> None:
    found = check(Clients(existing_stack()), with_cluster=False)
    assert len(found.problems) == 1
    assert "127.0.0.1:9" in found.problems[0]


def test_a_removed_release_is_a_problem(cloud: Cloud) -> None:
    _, problems = report(existing_stack())
    assert problems == ["namespace tuskwatch has no Helm release of this stack"]


def test_by_default_nothing_is_open_and_the_way_in_is_a_port_forward(cloud: Cloud) -> None:
    provision(existing_stack())
    text = summary(Clients(existing_stack()))
    assert "kubectl --namespace tuskwatch port-forward service/pachyderm-proxy 30650:80" in text
    assert "http://127.0.0.1:30650/" in text


def test_a_load_balancer_is_named_with_who_may_use_it(cloud: Cloud) -> None:
    wanted = existing_stack(exposure="load-balancer", source_ranges=["203.0.113.0/24"])
    finish("base", wanted)
    text = way_in(wanted, Clients(wanted).kube)
    assert "host 203.0.113.10 and port 80" in text
    assert "only to 203.0.113.0/24" in text


def test_no_secret_is_in_outcomes_stack_or_logs(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="dags")
    wanted = stack(storage_key_conn_id="google_cloud_default")
    messages = [finish(step, wanted).message for step in ("bucket", "cluster", "base", "release", "pods")]
    messages += [summary(Clients(wanted)), str(check(Clients(wanted), with_cluster=True)), json.dumps(wanted.to_dict()), caplog.text]
    made = cloud.kube.values("tuskwatch")
    secrets = [*cloud.secrets, made["pachd"]["rootToken"], made["global"]["postgresql"]["postgresqlPassword"]]
    assert len(caplog.records) > 2
    assert [secret for secret in secrets if any(secret in message for message in messages)] == []
