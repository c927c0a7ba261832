"""The four stages end to end, by their own specs and images: images in, threats out; again; with other rules."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from airflow_pachyderm.operators.file import PachydermPutFileOperator
from airflow_pachyderm.operators.pipeline import PachydermCreatePipelineOperator
from stages.contract.pipelines import pipelines
from tests.conformance.lab import SMALL, JobState, Lab, counts, pfs_proto
from tests.conformance.test_provider import push, task
from tests.support_data import REPOSITORY, Material, camera_material, rendered_material, shared_data

STAGES = tuple(pipeline.name for pipeline in pipelines())
RULES = REPOSITORY / "stages" / "threat_detect" / "rule.json"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """The camera images where they are, else frames that the project renders."""
    return camera_material() if shared_data() else rendered_material(tmp_path_factory.mktemp("frames"))


def spec_of(stage: str) -> dict[str, Any]:
    """A stage's spec as it ships, with requests that fit on any node and one worker, which starts TensorFlow once."""
    spec: dict[str, Any] = json.loads((REPOSITORY / "stages" / stage.replace("-", "_") / "pipeline.json").read_text())
    return spec | {"resourceRequests": SMALL, "sidecarResourceRequests": SMALL, "parallelismSpec": {"constant": 1}}


def settled(lab: Lab, commit: str) -> dict[str, Any]:
    """The jobs of a commit; skips where the stages' images are not to be had."""
    try:
        return lab.settle(commit)
    except grpc.RpcError as exc:
        if exc.code() is not grpc.StatusCode.DEADLINE_EXCEEDED or lab.target.dialect:
            raise
        states = {stage: lab.inspect_pipeline(stage) for stage in STAGES}
        told = ", ".join(f"{stage} {info.details.transform.image}: {info.state} {info.reason}" for stage, info in states.items())
        pytest.skip(f"the stages did not end in {lab.target.wait_seconds:.0f} s ({told}); their images must be on the server's nodes")


def threats(lab: Lab) -> dict[str, int]:
    """How many there are, by device."""
    found: dict[str, int] = {}
    for info in lab.client.glob_file(lab.at("threat-detect"), "/*/*.json"):
        device = info.file.path.split("/")[1]
        found[device] = found.get(device, 0) + 1
    return found


def test_images_become_threats_once_and_again_with_other_rules(
    lab: Lab, capabilities: dict[str, str], material: Material, tmp_path: Path
) -> None:
    for repo in ("images", "model", "rules"):
        lab.client.create_repo(repo, project_name=lab.project)
    task(lab, PachydermPutFileOperator, repo="model", path=f"/{material.model.name}", source=str(material.model)).run()
    task(lab, PachydermPutFileOperator, repo="rules", path="/rule.json", source=str(RULES)).run()
    made = task(lab, PachydermCreatePipelineOperator, spec=[spec_of(stage) for stage in STAGES]).run()
    assert made == dict.fromkeys(STAGES, "created")
    files = {f"/{path.name}": str(path) for path in sorted(material.images.glob("*.jpg"))}

    first = settled(lab, push(lab, "images", files, wait=False).run()["commit"])

    assert {stage: (job.state, job.reason) for stage, job in first.items()} == dict.fromkeys(STAGES, (JobState.JOB_SUCCESS, ""))
    assert counts(first["object-detect"]) == {"processed": len(material.valid), "total": len(material.valid)}
    outcome = lab.files("validate")
    assert {path for path in outcome if path.startswith("/valid/")} == {f"/valid/{name}" for name in material.valid}
    assert {path for path in outcome if path.startswith("/invalid/")} == {
        f"/invalid/{name}{end}" for name in material.invalid for end in ("", ".reason.json")
    }
    assert all(outcome[f"/valid/{name}"] == (material.images / name).read_bytes() for name in material.valid)
    detected = lab.files("object-detect")
    assert len(detected) == 2 * len(material.valid)
    assert all("objects" in json.loads(data) for path, data in detected.items() if path.endswith(".json"))
    found = threats(lab)
    assert found == {device: count or found.get(device) for device, count in material.threats.items()}
    drawn = lab.files("plot")
    assert (set(drawn), drawn["/threats.png"][:4]) == ({"/threats.png", "/threats.json"}, b"\x89PNG")

    again = push(lab, "images", files, wait=False)
    again.ti.run_id = "manual__later"
    repeated = settled(lab, again.run()["commit"])
    assert {stage: job.data_processed for stage, job in repeated.items()} == dict.fromkeys(STAGES, 0)

    rules = json.loads(RULES.read_text()) | {"min_score": 1.0}
    (tmp_path / "rule.json").write_text(json.dumps(rules))
    changed = settled(lab, task(lab, PachydermPutFileOperator, repo="rules", path="/rule.json", source=str(tmp_path / "rule.json")).run())
    assert set(changed) == {"threat-detect", "plot"}, "nothing is detected again"
    assert counts(changed["threat-detect"])["processed"] == len(material.valid)
    assert threats(lab) == {}
    walked = lab.client.walk_file(lab.at("object-detect"), "/")
    assert {info.file.path for info in walked if info.file_type == pfs_proto.FileType.FILE} == set(detected)
