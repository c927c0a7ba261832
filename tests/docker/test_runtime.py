"""``minipachd --runtime docker``: pipelines whose user code runs in the images that their specs name."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf import json_format
from python_pachyderm.service import pps_proto

from tests.docker.conftest import BUILD_SECONDS, agree, docker, missing_engine
from tests.minipachd.pps.lab import JobState, Lab
from tests.support import Engine
from tests.support_data import REPOSITORY

pytestmark = [pytest.mark.docker, pytest.mark.timeout(BUILD_SECONDS)]

STAGES = REPOSITORY / "stages"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A server whose user code runs in containers."""
    if reason := missing_engine():
        pytest.skip(reason)
    with Engine(tmp_path, "--runtime", "docker") as engine:
        yield Lab(engine)
    assert containers(engine) == []


def containers(engine: Engine) -> list[str]:
    """The containers of a server that are there, running or not."""
    return docker("ps", "--all", "--quiet", "--filter", f"label=minipachd.work={engine.root / 'work'}").split()


def python(image: str, program: str, **transform: object) -> dict[str, object]:
    """A transform that runs a program in an image."""
    return {"image": image, "cmd": ["python3", "-c", program], **transform}


def wait_until(reached: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def test_a_command_finds_what_a_worker_pod_gives_it(build, lab):
    lab.repo()
    program = """
import json, os, sys
open("/pfs/out/seen", "w").write(json.dumps({
    "input": open(os.environ["in"]).read(), "uid": os.getuid(), "cwd": os.getcwd(), "stdin": sys.stdin.read(),
    "path": os.environ["PATH"], "home": os.environ.get("AIRFLOW_HOME"), "mine": os.environ["MINE"], "argv": sys.argv[1:],
}))
"""
    lab.pipeline("look", **python(build("validate"), program, env={"MINE": "a\nb"}, stdin=["hello"]))
    job = lab.run({"/a": "content"})["look"]
    assert job.state == JobState.JOB_SUCCESS, job.reason
    seen = json.loads(lab.files("look")["/seen"])
    assert seen["input"] == "content"
    assert seen["uid"] == (1000 if os.geteuid() == 0 else os.geteuid())
    assert (seen["cwd"], seen["stdin"], seen["mine"], seen["argv"]) == ("/", "hello\n", "a\nb", [])
    assert seen["path"].startswith("/app/venv/bin:")
    assert seen["home"] is None


def test_a_numeric_user_cannot_write_to_the_root(build, lab):
    lab.repo()
    program = """
import os, shutil
open("/tmp/scratch", "w").close()
try:
    open("/app/x", "w")
except OSError as error:
    open("/pfs/out/error", "w").write(f"{os.getuid()} {error.strerror}")
"""
    lab.pipeline("look", **python(build("validate"), program, user="1234"))
    assert lab.run({"/a": "1"})["look"].state == JobState.JOB_SUCCESS
    uid = 1234 if os.geteuid() == 0 else os.geteuid()
    assert lab.files("look") == {"/error": f"{uid} Read-only file system".encode()}


def test_a_command_that_fails_and_an_image_that_is_not_there_fail_their_datum_with_the_reason(build, lab):
    lab.repo()
    lab.pipeline("broken", **python(build("validate"), "import sys; sys.exit('it went wrong')"))
    lab.pipeline("nowhere", **python("127.0.0.1:1/no/such:image", ""))
    jobs = lab.run({"/a": "1"})
    assert jobs["broken"].state == jobs["nowhere"].state == JobState.JOB_FAILURE
    assert "it went wrong" in "\n".join(lab.logs("broken"))
    assert "127.0.0.1:1/no/such:image" in "\n".join(lab.logs("nowhere"))


def test_a_stopped_job_leaves_no_container(build, lab):
    lab.repo()
    lab.pipeline(
        "endless", **python(build("validate"), "import signal, time; signal.signal(15, 1); print('up', flush=True); time.sleep(3600)")
    )
    commit = lab.put({"/a": "1"})
    wait_until(lambda: containers(lab.engine))
    lab.client.stop_job(commit, "endless")
    wait_until(lambda: not containers(lab.engine))


def test_a_restarted_server_removes_what_a_killed_one_left(build, lab):
    lab.repo()
    program = "import os, time; time.sleep(3600 if open(os.environ['in']).read() == '1' else 0)"
    lab.pipeline("endless", **python(build("validate"), program))
    lab.put({"/a": "1"})
    wait_until(lambda: containers(lab.engine))
    left = containers(lab.engine)
    lab.engine.kill()
    lab.engine.start()
    assert not set(left) & set(containers(lab.engine))


def test_limits_and_secret_files_reach_the_container(build, lab):
    lab.repo()
    lab.client.create_secret("mail", {"key": "s3cr3t"})
    program = """
import json, os, sys
from pathlib import Path
read = lambda path: Path(path).read_text().strip() if Path(path).exists() else ""
try:
    Path("/secrets/mail/key").write_text("spoiled")
except OSError as error:
    kept = error.strerror
json.dump({
    "memory": read("/sys/fs/cgroup/memory.max") or read("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    "cpu": read("/sys/fs/cgroup/cpu.max") or " ".join(read(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us") for name in ("quota", "period")),
    "secret": read("/secrets/mail/key"), "kept": kept,
}, open("/pfs/out/seen", "w"))
"""
    secrets = [pps_proto.SecretMount(name="mail", mount_path="/secrets/mail")]
    limits = pps_proto.ResourceSpec(cpu=0.5, memory="256Mi")
    lab.pipeline("look", **python(build("validate"), program, secrets=secrets), resource_limits=limits)
    job = lab.run({"/a": "1"})["look"]
    assert job.state == JobState.JOB_SUCCESS, job.reason
    seen = json.loads(lab.files("look")["/seen"])
    assert seen == {"memory": str(256 << 20), "cpu": "50000 100000", "secret": "s3cr3t", "kept": "Read-only file system"}


def test_more_memory_than_the_limit_costs_the_datum_and_nothing_else(build, lab):
    lab.repo()
    program = "import os; data = b'x' * (int(open(os.environ['in']).read()) << 20); open(os.environ['in'].replace('/in/', '/out/'), 'w')"
    lab.pipeline("eater", **python(build("validate"), program), resource_limits=pps_proto.ResourceSpec(memory="128Mi"))
    job = lab.run({"/little": "1", "/much": "1000"})["eater"]
    assert job.state == JobState.JOB_FAILURE
    assert "/much" in job.reason
    assert (job.data_processed, job.data_failed) == (1, 1)


def test_by_image_a_pipeline_runs_in_it_where_docker_has_it_and_as_a_process_elsewhere(build, tmp_path):
    if reason := missing_engine():
        pytest.skip(reason)
    with Engine(tmp_path, "--runtime", "auto") as engine:
        lab = Lab(engine)
        lab.repo()
        program = "import os; open(os.environ['PFS_ROOT'] + '/out/where', 'w').write(os.environ['PATH'])"
        lab.pipeline("inside", **python(build("validate"), program))
        lab.pipeline("outside", **python("no.such.registry/no-such-image:none", program))
        jobs = lab.run({"/a": "1"})
        assert {name: job.state for name, job in jobs.items()} == dict.fromkeys(("inside", "outside"), JobState.JOB_SUCCESS)
        assert lab.files("inside")["/where"].startswith(b"/app/venv/bin:")
        assert lab.files("outside")["/where"].decode().split(":")[0] == str(Path(sys.executable).parent)


@pytest.mark.thorough
def test_the_four_stages_in_their_images(build, lab, material):
    for repo in ("images", "model", "rules"):
        lab.repo(repo)
    lab.put({"/frozen_inference_graph.pb": material.model.read_bytes()}, repo="model")
    lab.put({"/rule.json": (STAGES / "threat_detect" / "rule.json").read_bytes()}, repo="rules")
    for stage in ("validate", "object_detect", "threat_detect", "plot"):
        build(stage.replace("_", "-"))
        spec = (STAGES / stage / "pipeline.json").read_text()
        lab.client.create_pipeline_from_request(json_format.Parse(spec, pps_proto.CreatePipelineRequest()))
    jobs = lab.settle(lab.put({f"/{path.name}": path.read_bytes() for path in material.images.iterdir()}, repo="images"))
    assert {name: job.state for name, job in jobs.items()} == dict.fromkeys(jobs, JobState.JOB_SUCCESS), "\n".join(
        lab.logs("object-detect")
    )
    assert {path.removeprefix("/valid/") for path in lab.files("validate") if path.startswith("/valid/")} == set(material.valid)
    assert agree(Counter(path.split("/")[1] for path in lab.files("threat-detect")), material)
    assert lab.files("plot")["/threats.png"].startswith(b"\x89PNG")
