"""What keeps pods from running is told while it is waited for; where waiting cannot help, the wait ends. Answers are a real cluster's."""

import json
from typing import Any

import pytest

from airflow_pachyderm.states import PipelineState
from dags.provisioning.clients import Clients
from dags.provisioning.errors import StepFailedError
from dags.provisioning.outcome import Pending
from dags.provisioning.pachd import PipelineStatus
from dags.provisioning.quantities import number
from dags.provisioning.workloads import workers_ready
from tests.provisioning.conftest import Cloud, existing_stack, finish, once

WAITING = existing_stack()


@pytest.fixture
def kubernetes(cloud: Cloud) -> Cloud:
    """Helm is at work, and waits."""
    cloud.existing.helm_hangs = True
    finish("base", WAITING)
    return cloud


def pod(cloud: Cloud, name: str, status: dict[str, Any], *, labels: dict[str, str] | None = None, cpu: str = "250m", **spec: Any) -> None:
    containers = [{"name": name, "image": f"docker.io/acme/{name}:1", "resources": {"requests": {"cpu": cpu}}}]
    body = {"metadata": {"labels": labels or {}}, "spec": {"containers": containers, **spec}, "status": status}
    cloud.existing.put("pods", f"{name}-0", body, namespace="tuskwatch")


def waits(reason: str, message: str, *, restarts: int = 0, **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "pachd", "image": "docker.io/acme/pachd:1", "ready": False,
            "restartCount": restarts, "state": state, **more}]}  # fmt: skip


def look(cloud: Cloud) -> str:
    """What the task says at its second look, which the trigger takes."""
    first = once("release", WAITING)
    assert isinstance(first, Pending)
    second = once("release", WAITING, progress=first.progress)
    assert isinstance(second, Pending)
    return second.message


def test_a_crash_is_told_with_its_exit_code_and_its_last_lines(kubernetes: Cloud) -> None:
    kubernetes.existing.logs["pachd-0", "pachd"] = "starting\nfatal: no postgres at pg-bouncer:5432\n"
    last = {"lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    pod(kubernetes, "pachd", waits("CrashLoopBackOff", "back-off 40s restarting failed container", restarts=3, **last))
    said = look(kubernetes)
    assert "pod pachd-0, container pachd: CrashLoopBackOff after 3 restarts, exit code 1 (Error); its last lines:" in said
    assert "\n    fatal: no postgres at pg-bouncer:5432" in said


def test_between_two_crashes_the_log_of_the_run_before_is_told(kubernetes: Cloud) -> None:
    kubernetes.existing.logs |= {("pachd-0", "pachd"): "starting\n", ("pachd-0", "pachd (previous)"): "fatal: out of memory\n"}
    last = {"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    status = waits("", "", restarts=1, **last)
    status["containerStatuses"][0]["state"] = {"running": {"startedAt": "2026-11-28T20:00:00Z"}}
    pod(kubernetes, "pachd", status)
    said = look(kubernetes)
    assert "crashed after 1 restarts, exit code 137 (OOMKilled); its last lines:\n    fatal: out of memory" in said


@pytest.mark.parametrize(
    ("status", "cpu", "message"),
    [
        (waits("ErrImagePull", 'failed to unpack image "docker.io/acme/pachd:1": not found'), "1", "ImagePullBackOff, image docker.io"),
        (waits("InvalidImageName", "couldn't parse image name"), "1", "InvalidImageName"),
        (waits("CrashLoopBackOff", "back-off 2m40s", restarts=5), "1", "CrashLoopBackOff after 5 restarts"),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": "0/1 nodes are available: 1 Insufficient cpu."}]},
            "100",
            "pod pachd-0 fits on no node: it asks for 100 CPU, and the largest node has 3.92 CPU in all",
        ),
    ],
)  # fmt: skip
def test_the_wait_ends_where_waiting_cannot_help(kubernetes: Cloud, status: dict[str, Any], cpu: str, message: str) -> None:
    pod(kubernetes, "pachd", status, cpu=cpu)
    with pytest.raises(StepFailedError, match="waiting cannot help") as caught:
        look(kubernetes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (waits("ErrImagePull", "failed to resolve reference: dial tcp: i/o timeout"), "ImagePullBackOff"),
        (waits("CrashLoopBackOff", "back-off 10s", restarts=1), "CrashLoopBackOff after 1 restarts"),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: 1 Insufficient cpu."}]},
            "pod pachd-0, which asks for 0.25 CPU, has no node yet: 0/1 nodes: 1 Insufficient cpu.",
        ),
    ],
)
def test_what_may_pass_is_told_and_waited_for(kubernetes: Cloud, status: dict[str, Any], message: str) -> None:
    pod(kubernetes, "pachd", status)
    assert message in look(kubernetes)


def test_a_pull_that_fails_for_minutes_ends_the_wait(kubernetes: Cloud) -> None:
    status = waits("ImagePullBackOff", "Back-off pulling image: dial tcp: i/o timeout")
    status["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-23T07:00:00Z"}]
    pod(kubernetes, "pachd", status)
    with pytest.raises(StepFailedError, match="ImagePullBackOff"):
        look(kubernetes)


def test_the_two_states_of_a_failing_pull_are_told_as_one(kubernetes: Cloud) -> None:
    """Each message that differs from the last one is a line in the task's log."""
    pull = 'failed to resolve reference "docker.io/acme/pachd:1": dial tcp: lookup registry-1.docker.io: no such host'
    first = once("release", WAITING)
    assert isinstance(first, Pending)
    said = set()
    for status in (
        waits("ErrImagePull", pull),
        waits("ImagePullBackOff", f'Back-off pulling image "docker.io/acme/pachd:1": ErrImagePull: {pull}'),
    ):
        pod(kubernetes, "pachd", status)
        said.add(once("release", WAITING, progress=first.progress).message)
    (message,) = said
    assert f"ImagePullBackOff, image docker.io/acme/pachd:1: {pull}" in message


def test_a_volume_that_cannot_be_mounted_is_told_from_its_event(kubernetes: Cloud) -> None:
    status = waits("ContainerCreating", "") | {
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-23T07:00:00Z"}]
    }
    pod(kubernetes, "pachd", status)
    event = {"involvedObject": {"kind": "Pod", "name": "pachd-0"}, "type": "Warning", "reason": "FailedMount"}
    kubernetes.existing.put("events", "e1", event | {"message": 'secret "pachd-config" not found'}, namespace="tuskwatch")
    kubernetes.existing.put("events", "e2", event | {"type": "Normal", "reason": "Pulled", "message": "pulled"}, namespace="tuskwatch")
    assert 'pod pachd-0, container pachd: cannot start: FailedMount: secret "pachd-config" not found' in look(kubernetes)


def test_a_claim_beside_released_volumes_is_told_with_the_way_out(kubernetes: Cloud) -> None:
    message = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    pod(kubernetes, "etcd", {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": message}]})
    kubernetes.existing.put("persistentvolumeclaims", "etcd-storage-etcd-0", {"status": {"phase": "Pending"}}, namespace="tuskwatch")
    kept = {"spec": {"claimRef": {"namespace": "tuskwatch", "name": "etcd-storage-etcd-0"}, "persistentVolumeReclaimPolicy": "Retain"}}
    kubernetes.existing.put("persistentvolumes", "pv1", kept | {"status": {"phase": "Released"}})
    said = look(kubernetes)
    assert "volume claim etcd-storage-etcd-0 has no volume" in said
    assert "kubectl delete pv pv1" in said


def test_pods_that_come_to_nothing_are_told_with_the_deployments_condition(kubernetes: Cloud) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": 'pods "pachd-1" is forbidden: exceeded quota: team-a'}
    kubernetes.existing.put("deployments", "pachd", {"spec": {"replicas": 1}, "status": {"conditions": [condition]}}, namespace="tuskwatch")
    kubernetes.existing.stuck_pods = "pachd"
    assert 'deployment pachd cannot make its pods: pods "pachd-1" is forbidden: exceeded quota: team-a' in look(kubernetes)


def worker(cloud: Cloud, pipeline: str, version: int, status: dict[str, Any]) -> None:
    labels = {"component": "worker", "suite": "pachyderm", "pipelineName": pipeline, "pipelineVersion": str(version)}
    pod(cloud, pipeline, status, labels=labels)


def test_a_pipelines_worker_does_not_end_an_installation_and_is_told_when_workers_are_waited_for(kubernetes: Cloud) -> None:
    worker(kubernetes, "validate", 1, waits("ErrImagePull", "docker.io/acme/validate:1: not found"))
    assert "validate" not in look(kubernetes)
    running = PipelineStatus("validate", PipelineState.RUNNING, "", None)
    with pytest.raises(StepFailedError, match=r"pod validate-0, container pachd: ImagePullBackOff.*not found\nWaiting cannot help"):
        workers_ready(Clients(WAITING).kube, WAITING, [running])


def test_a_worker_of_the_version_before_does_not_count(kubernetes: Cloud) -> None:
    """Its spec is what was mended; its pod goes a little later."""
    worker(kubernetes, "validate", 1, waits("ErrImagePull", "docker.io/acme/validate:1: not found"))
    starting = PipelineStatus("validate", PipelineState.STARTING, "", None, version=2)
    outcome = workers_ready(Clients(WAITING).kube, WAITING, [starting])
    assert isinstance(outcome, Pending)
    assert outcome.message == "Workers are not up: validate is starting"


def test_logs_are_text_whatever_they_hold(kubernetes: Cloud) -> None:
    """The client hands out text as Python shows its bytes, and what looks like JSON as objects."""
    pod(kubernetes, "pachd", {"phase": "Running"})
    kubernetes.existing.logs["pachd-0", "pachd"] = '{"level": "error", "message": "Größe"}\n'
    text = Clients(WAITING).kube.logs("pachd-0", namespace="tuskwatch")
    assert json.loads(text) == {"level": "error", "message": "Größe"}


def test_when_helms_time_is_up_and_its_pod_is_gone_what_was_seen_last_is_told(kubernetes: Cloud) -> None:
    """Kubernetes deletes the pods of a Job whose deadline has passed."""
    kubernetes.existing.logs["pachd-0", "pachd"] = "fatal: no postgres\n"
    pod(kubernetes, "pachd", waits("CrashLoopBackOff", "back-off 40s", restarts=3))
    first = once("release", WAITING)
    assert isinstance(first, Pending)
    second = once("release", WAITING, progress=first.progress)
    assert isinstance(second, Pending)
    kubernetes.existing.objects["jobs", "tuskwatch", second.progress["job"]]["status"] = {
        "conditions": [
            {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "Job was active longer than specified deadline"}
        ]
    }
    del kubernetes.existing.objects["pods", "tuskwatch", "pachd-0"]
    with pytest.raises(StepFailedError, match=r"(?s)active longer than specified deadline.*Seen last:.*fatal: no postgres"):
        once("release", WAITING, progress=second.progress)


@pytest.mark.parametrize(("text", "value"), [("250m", 0.25), ("2", 2.0), ("1.5Gi", 1.5 * 2**30), ("128Ki", 131072.0), ("1e3", 1000.0)])
def test_quantities_are_kubernetes(text: str, value: float) -> None:
    assert number(text) == value


def test_what_is_no_quantity_is_named() -> None:
    with pytest.raises(ValueError, match="'two' is no quantity"):
        number("two")
