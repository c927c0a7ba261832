"""What somebody sends, or writes into a spec, that would keep the server busy for ever."""

from pathlib import Path

import pytest
from grpc import RpcError

from tests.minipachd.pps.lab import JobState, Lab, counts, cross, pfs
from tests.support import Engine


def test_a_glob_with_exponentially_many_ways_to_match_stands_nobody_still(own_lab: Lab) -> None:
    lab = own_lab
    lab.repo()
    patterns = ["/*(a|a)b", "/" + "*a" * 20 + "b"]
    lab.pipeline("copy", "cp $in $PFS_ROOT/out/")
    for number, pattern in enumerate(patterns):
        lab.pipeline(f"hostile{number}", "true", reads=pfs("in", pattern))

    jobs = lab.run({"/" + "a" * 40: "1"})

    assert [list(lab.client.glob_file(("in", "master"), pattern)) for pattern in patterns] == [[], []]
    assert {name: job.state for name, job in jobs.items()} == dict.fromkeys(("copy", "hostile0", "hostile1"), JobState.JOB_SUCCESS)
    lab.engine.kill()
    lab.engine.start()
    assert counts(lab.run({"/b": "1"})["copy"]) == {"processed": 1, "skipped": 1, "total": 2}


WIDE = cross(*(pfs("in", name=f"input{number}") for number in range(5)))
MANY = {f"/{number}": "1" for number in range(31)}


def test_a_plan_of_too_many_datums_is_not_built_and_its_job_fails_with_their_number(own_lab: Lab) -> None:
    lab = own_lab
    lab.repo()
    lab.pipeline("wide", "true", reads=WIDE)
    lab.pipeline("copy", "cp $in $PFS_ROOT/out/")

    jobs = lab.run(MANY)

    assert jobs["wide"].state == JobState.JOB_FAILURE
    assert "28,629,151 datums, and 2,000,000 are planned at most" in jobs["wide"].reason
    assert jobs["copy"].state == JobState.JOB_SUCCESS
    with pytest.raises(RpcError, match="28,629,151 datums"):
        list(lab.client.list_datum(input=WIDE))
    assert lab.run({"/31": "1", "/32": "1"})["wide"].state == JobState.JOB_FAILURE
    lab.client.delete_pipeline("wide")


@pytest.mark.parametrize("end", ["stop_job", "delete_pipeline", "SIGTERM"])
def test_planning_ends_when_nobody_wants_the_plan_any_more(tmp_path: Path, end: str) -> None:
    with Engine(tmp_path, "--max-datums", "1000000000") as engine:
        lab = Lab(engine)
        lab.repo()
        lab.pipeline("wide", "true", reads=WIDE)
        commit = lab.put(MANY)
        while next(iter(lab.client.inspect_job(commit, "wide"))).state != JobState.JOB_STARTING:
            pass
        match end:
            case "stop_job":
                lab.client.stop_job(commit, "wide", "enough")
                assert lab.settle(commit)["wide"].reason == "enough"
                lab.pipeline("wide", "true", update=True)
                assert lab.run({"/a": "1"})["wide"].state == JobState.JOB_SUCCESS
            case "delete_pipeline":
                lab.client.delete_pipeline("wide")
                assert list(lab.client.list_pipeline()) == []
            case _:
                assert engine.stop(timeout_seconds=20) == 0
                assert "not everything ended" not in engine.log.read_text()
