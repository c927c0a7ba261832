"""What users see of pipelines and their jobs: the traces of Pachyderm's own behaviour."""

import pytest
from grpc import RpcError

from tests.minipachd.pps.lab import DatumState, JobState, Lab, PipelineState, counts, cross, pfs


def test_a_new_pipeline_has_a_job_without_datums(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")

    job = lab.newest("copy")

    assert (job.state, counts(job)) == (JobState.JOB_SUCCESS, {})
    assert lab.files("copy") == {}


def test_skip_change_delete_and_return(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")

    assert counts(lab.run({"/a": "1", "/b": "1"})["copy"]) == {"processed": 2, "total": 2}
    assert counts(lab.run({"/c": "1"})["copy"]) == {"processed": 1, "skipped": 2, "total": 3}
    assert counts(lab.run({"/b": "2"})["copy"]) == {"processed": 1, "skipped": 2, "total": 3}
    assert lab.files("copy") == {"/a": b"1", "/b": b"2", "/c": b"1"}

    assert counts(lab.run(delete=["/a"])["copy"]) == {"skipped": 2, "total": 2}
    assert lab.files("copy") == {"/b": b"2", "/c": b"1"}
    assert counts(lab.run({"/a": "1"})["copy"]) == {"processed": 1, "skipped": 2, "total": 3}
    assert counts(lab.run({"/a": "1"})["copy"]) == {"skipped": 3, "total": 3}


def test_an_update_skips_what_is_done_and_a_reprocess_does_not(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    lab.run({"/a": "1", "/b": "1"})

    lab.pipeline("copy", "echo new >$PFS_ROOT/out/$(basename $in)", update=True)
    assert counts(lab.newest("copy")) == {"skipped": 2, "total": 2}
    assert lab.files("copy") == {"/a": b"1", "/b": b"1"}
    assert any("reprocess" in line for line in lab.logs("copy", master=True))

    lab.pipeline("copy", "echo new >$PFS_ROOT/out/$(basename $in)", update=True, reprocess=True)
    assert counts(lab.newest("copy")) == {"processed": 2, "total": 2}
    assert lab.files("copy") == {"/a": b"new\n", "/b": b"new\n"}
    assert [info.version for info in lab.client.inspect_pipeline("copy", -1)] == [3, 2, 1]


def test_a_directory_datum_runs_again_when_a_file_below_it_changes(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("count", "ls $in >$PFS_ROOT/out/$(basename $in)", reads=pfs("in", "/*"))

    lab.run({"/day1/a": "1", "/day1/b": "1", "/day2/c": "1"})
    assert lab.files("count") == {"/day1": b"a\nb\n", "/day2": b"c\n"}

    assert counts(lab.run(delete=["/day1/b"])["count"]) == {"processed": 1, "skipped": 1, "total": 2}
    assert lab.files("count") == {"/day1": b"a\n", "/day2": b"c\n"}


def test_a_cross_runs_every_pair_and_only_new_pairs_again(lab: Lab) -> None:
    lab.repo("in")
    lab.repo("rules")
    lab.put({"/r1": "x"}, repo="rules")
    lab.pipeline("pairs", "cat $in $rules >$PFS_ROOT/out/$(basename $in)-$(basename $rules)", reads=cross(pfs("in"), pfs("rules")))

    assert counts(lab.run({"/a": "1", "/b": "2"})["pairs"]) == {"processed": 2, "total": 2}
    assert counts(lab.run({"/r2": "y"}, repo="rules")["pairs"]) == {"processed": 2, "skipped": 2, "total": 4}
    assert lab.files("pairs") == {"/a-r1": b"1x", "/a-r2": b"1y", "/b-r1": b"2x", "/b-r2": b"2y"}


def test_a_failed_datum_fails_the_job_with_its_reason_after_the_others_ran(lab: Lab) -> None:
    lab.repo()
    lab.pipeline(
        "picky", "echo looking at $in; grep good $in >$PFS_ROOT/out/$(basename $in) || { echo no good >&2; exit 3; }", datum_tries=2
    )
    lab.pipeline("below", "true", reads=pfs("picky"))
    lab.run({"/a": "good"})

    jobs = lab.run({"/b": "bad", "/c": "good"})

    job = jobs["picky"]
    assert (job.state, counts(job)) == (JobState.JOB_FAILURE, {"processed": 1, "skipped": 1, "failed": 1, "total": 3})
    (failed,) = [datum for datum in lab.client.list_datum("picky", job.job.id) if datum.state == DatumState.FAILED]
    assert failed.datum.id in job.reason
    assert "/b" in job.reason
    assert "exit status 3: no good" in job.reason
    printed = lab.logs("picky", job.job.id, data_filters=["/b"])
    assert [line.split(" ")[0] for line in printed] == ["looking", "no"] * 2
    assert jobs["below"].state == JobState.JOB_UNRUNNABLE
    assert "picky" in jobs["below"].reason
    assert {datum.data[0].file.path: datum.state for datum in lab.client.list_datum("picky", job.job.id)} == {
        "/a": DatumState.SKIPPED,
        "/b": DatumState.FAILED,
        "/c": DatumState.SUCCESS,
    }

    fixed = lab.run({"/b": "good after all"})
    assert (fixed["picky"].state, fixed["below"].state) == (JobState.JOB_SUCCESS, JobState.JOB_SUCCESS)
    assert counts(fixed["picky"]) == {"processed": 2, "skipped": 1, "total": 3}
    assert set(lab.files("picky")) == {"/a", "/b", "/c"}


def test_good_datums_of_a_failed_job_do_not_run_twice(lab: Lab, tmp_path) -> None:
    ran = tmp_path / "ran"
    lab.repo()
    lab.pipeline("picky", f"basename $in >>{ran}; grep -q good $in; cp $in $PFS_ROOT/out/")
    assert lab.run({"/a": "good", "/b": "bad"})["picky"].state == JobState.JOB_FAILURE

    assert lab.run({"/b": "good"})["picky"].state == JobState.JOB_SUCCESS

    assert sorted(ran.read_text().split()) == ["a", "b", "b"]
    assert lab.files("picky") == {"/a": b"good", "/b": b"good"}


def test_two_datums_that_write_one_path_fail_the_job_and_are_both_named(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("clash", "cp $in $PFS_ROOT/out/same")

    job = lab.run({"/a": "1", "/b": "2"})["clash"]

    assert job.state == JobState.JOB_FAILURE
    assert "duplicate path output by different datums" in job.reason
    assert all(datum.datum.id in job.reason for datum in lab.client.list_datum("clash", job.job.id))
    assert len(list(lab.client.list_datum(input=pfs("in")))) == 2


def test_a_path_may_move_from_one_datum_to_another(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("named", "cp $in $PFS_ROOT/out/$(cat $in)")
    lab.run({"/a": "x", "/b": "y"})

    assert lab.run({"/a": "y", "/b": "x"})["named"].state == JobState.JOB_SUCCESS
    assert lab.files("named") == {"/x": b"x", "/y": b"y"}


def test_a_file_and_a_directory_of_one_name_fail_the_job(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("clash", "if [ $(basename $in) = a ]; then touch $PFS_ROOT/out/x; else mkdir $PFS_ROOT/out/x; touch $PFS_ROOT/out/x/y; fi")

    job = lab.run({"/a": "1", "/b": "2"})["clash"]

    assert job.state == JobState.JOB_FAILURE
    assert "file / directory path collision" in job.reason


def test_a_diamond_runs_once_per_commit_and_sees_one_state(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("left", "cp $in $PFS_ROOT/out/")
    lab.pipeline("right", "cp $in $PFS_ROOT/out/")
    lab.pipeline("join", "cat $left/* $right/* >$PFS_ROOT/out/both", reads=cross(pfs("left", "/"), pfs("right", "/")))

    jobs = lab.run({"/a": "1"})

    assert {name: job.state for name, job in jobs.items()} == dict.fromkeys(("left", "right", "join"), JobState.JOB_SUCCESS)
    assert len({job.job.id for job in jobs.values()}) == 1
    assert lab.files("join") == {"/both": b"11"}


def test_commits_queue_up_and_each_gets_its_job(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")

    commits = [lab.put({f"/f{number}": str(number)}) for number in range(5)]

    assert [counts(lab.settle(commit)["copy"])["total"] for commit in commits] == [1, 2, 3, 4, 5]
    assert set(lab.files("copy", commits[1])) == {"/f0", "/f1"}


def test_stop_kills_the_job_and_start_makes_one_for_all_that_is_new(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    lab.run({"/a": "1"})
    lab.client.stop_pipeline("copy")
    (info,) = lab.client.inspect_pipeline("copy")
    assert (info.stopped, info.state) == (True, PipelineState.PIPELINE_PAUSED)
    lab.put({"/b": "1"})
    lab.put({"/c": "1"})

    lab.client.start_pipeline("copy")

    (info,) = lab.client.inspect_pipeline("copy")
    assert not info.stopped
    assert counts(lab.newest("copy")) == {"processed": 2, "skipped": 1, "total": 3}
    assert set(lab.files("copy")) == {"/a", "/b", "/c"}


def test_delete_removes_everything_and_the_name_is_free_again(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    lab.pipeline("below", reads=pfs("copy"))
    lab.run({"/a": "1"})

    with pytest.raises(RpcError, match="subvenance"):
        lab.client.delete_pipeline("copy")
    lab.client.delete_pipeline("below")
    lab.client.delete_pipeline("copy")

    assert list(lab.client.list_pipeline()) == []
    assert [info.repo.name for info in lab.client.list_repo(type="")] == ["in"]
    assert list(lab.client.list_job()) == []
    lab.pipeline("copy")
    assert counts(lab.newest("copy")) == {"processed": 1, "total": 1}


def test_delete_with_keep_repo_leaves_the_output(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    lab.run({"/a": "1"})

    lab.client.delete_pipeline("copy", keep_repo=True)

    assert lab.files("copy") == {"/a": b"1"}
    lab.put({"/mine": "2"}, repo="copy")
    assert set(lab.files("copy")) == {"/a", "/mine"}


def test_every_job_reprocesses_every_datum(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy", reprocess_spec="every_job")
    lab.run({"/a": "1"})

    assert counts(lab.run({"/b": "1"})["copy"]) == {"processed": 2, "total": 2}


def test_a_pipeline_without_a_command_is_kept_and_says_why_it_fails(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("nothing", cmd=[])

    assert lab.run({"/a": "1"})["nothing"].state == JobState.JOB_FAILURE
    (info,) = lab.client.inspect_pipeline("nothing")
    assert info.state == PipelineState.PIPELINE_FAILURE
    assert "transform.cmd is empty" in info.reason


def test_stopping_an_ended_job_changes_nothing(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    job = lab.run({"/a": "1"})["copy"]

    lab.client.stop_job(job.job.id, "copy")

    assert next(iter(lab.client.inspect_job(job.job.id, "copy"))).state == JobState.JOB_SUCCESS
