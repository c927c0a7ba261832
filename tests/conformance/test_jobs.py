"""Jobs and datums: what runs, what is skipped, how it fails, how it is stopped."""

import grpc
import pytest

from tests.conformance.lab import NO_ID, TERMINAL, DatumState, JobState, Lab, counts, pfs, pps_proto, refused

SUCCESS, FAILURE, KILLED, UNRUNNABLE = JobState.JOB_SUCCESS, JobState.JOB_FAILURE, JobState.JOB_KILLED, JobState.JOB_UNRUNNABLE


def test_a_new_pipeline_has_a_job_without_datums(workers: Lab) -> None:
    lab = workers
    name = lab.pipeline(lab.repo())
    job = lab.newest(name)
    assert (job.state, counts(job)) == (SUCCESS, {})
    assert lab.files(name) == {}


def test_what_is_done_is_skipped_what_changed_runs_and_what_went_is_gone(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source)
    assert counts(lab.run(source, {"/a": "1", "/b": "1"})[name]) == {"processed": 2, "total": 2}
    assert counts(lab.run(source, {"/c": "1"})[name]) == {"processed": 1, "skipped": 2, "total": 3}
    assert counts(lab.run(source, {"/b": "2"})[name]) == {"processed": 1, "skipped": 2, "total": 3}
    assert lab.files(name) == {"/a": b"1", "/b": b"2", "/c": b"1"}
    assert counts(lab.run(source, delete=["/a"])[name]) == {"skipped": 2, "total": 2}
    assert lab.files(name) == {"/b": b"2", "/c": b"1"}


def test_a_job_is_one_of_a_set_with_that_of_its_commit(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    first = lab.pipeline(source)
    second = lab.pipeline(first)
    commit = lab.put(source, {"/a": "1"})
    jobs = lab.settle(commit)

    assert [(name, job.job.id, job.state) for name, job in jobs.items()] == [(first, commit, SUCCESS), (second, commit, SUCCESS)]
    job = lab.job(first, commit)
    assert job.output_commit.id == commit
    assert job.details.input.pfs.commit == commit
    assert job.created.seconds <= job.started.seconds <= job.finished.seconds
    assert job.stats.download_bytes == job.stats.upload_bytes == 1
    sets = [found for found in lab.client.list_job() if commit == found.job_set.id]
    assert [[job.job.pipeline.name for job in found.jobs] for found in sets] in ([[first, second]], [[second, first]])
    assert next(iter(lab.client.list_job(first, project_name=lab.project))).job.id == commit
    assert [job.job.id for job in lab.client.list_job(first, number=1, project_name=lab.project)] == [commit]
    with refused("NOT_FOUND", "not found"):
        lab.job(first, NO_ID)

    lab.pipeline(source, name=first, update=True)
    newest = lab.newest(first)
    assert [job.job.id for job in lab.client.list_job(first, project_name=lab.project)] == [newest.job.id], "of this version"
    assert len(list(lab.client.list_job(first, history=-1, project_name=lab.project))) == 3


def test_a_failed_datum_fails_the_job_and_those_below_it(logs: Lab) -> None:
    lab = logs
    source = lab.repo()
    script = 'echo "looking at $in"; grep -q good "$in" || { echo no good >&2; exit 3; }; cp "$in" /pfs/out/'
    name = lab.pipeline(source, script, datumTries=2)
    below = lab.pipeline(name)
    lab.run(source, {"/a": "good"})

    jobs = lab.run(source, {"/b": "bad"})

    job = jobs[name]
    assert (job.state, counts(job)["failed"], counts(job)["total"]) == (FAILURE, 1, 2)
    (failed,) = [datum for datum in lab.datums(name, job.job.id) if datum.state == DatumState.FAILED]
    assert ([info.file.path for info in failed.data], failed.data[0].file.commit.repo.name) == (["/b"], source)
    assert failed.datum.id in job.reason
    assert (jobs[below].state, job.job.id) == (UNRUNNABLE, jobs[below].job.id)
    assert name in jobs[below].reason or "in" in jobs[below].reason
    assert lab.done(name, job.job.id).error
    assert set(lab.files(name, lab.inspect(name, job.job.id).parent_commit.id)) == {"/a"}, "the good output stays"

    fixed = lab.run(source, {"/b": "good after all"})
    assert (fixed[name].state, fixed[below].state) == (SUCCESS, SUCCESS)
    assert set(lab.files(below)) == {"/a", "/b"}


def test_two_datums_that_write_one_path_fail_the_job(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source, 'cp "$in" /pfs/out/same')
    job = lab.run(source, {"/a": "1", "/b": "2"})[name]
    assert job.state == FAILURE
    assert "duplicate path output by different datums" in job.reason


def test_an_err_cmd_recovers_a_datum(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source, 'grep -q good "$in"; cp "$in" /pfs/out/', transform={"errCmd": ["true"]})
    job = lab.run(source, {"/a": "good", "/b": "bad"})[name]
    assert (job.state, counts(job)) == (SUCCESS, {"processed": 1, "recovered": 1, "total": 2})
    assert set(lab.files(name)) == {"/a"}
    states = {datum.data[0].file.path: datum.state for datum in lab.datums(name, job.job.id)}
    assert states == {"/a": DatumState.SUCCESS, "/b": DatumState.RECOVERED}


def test_user_code_finds_its_input_and_who_it_is(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    script = """
      ls -A /pfs | grep -v -e scratch -e '^[.]' | sort | tr '\\n' ' ' >/pfs/out/pfs
      echo "$in $PACH_JOB_ID $PPS_PIPELINE_NAME $COLOUR" >/pfs/out/env
      cat pfs/in/d/a >/pfs/out/content 2>/dev/null || cat /pfs/in/d/a >/pfs/out/content
      ln -s /pfs/in/d/a /pfs/out/link
      mkdir /pfs/out/empty
    """
    name = lab.pipeline(pfs(source, "/*/a"), script, transform={"env": {"COLOUR": "blue"}})
    commit = lab.put(source, {"/d/a": "deep", "/d/b": "not of the datum"})
    assert lab.settle(commit)[name].state == SUCCESS
    assert lab.files(name) == {
        "/pfs": b"in out ",
        "/env": f"/pfs/in/d/a {commit} {name} blue\n".encode(),
        "/content": b"deep",
        "/link": b"deep",
    }


def test_a_directory_is_one_datum_and_runs_again_when_a_file_below_it_changes(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source, 'ls "$in" >/pfs/out/$(basename "$in")')
    lab.run(source, {"/day1/a": "1", "/day1/b": "1", "/day2/c": "1"})
    assert lab.files(name) == {"/day1": b"a\nb\n", "/day2": b"c\n"}
    assert counts(lab.run(source, delete=["/day1/b"])[name]) == {"processed": 1, "skipped": 1, "total": 2}
    assert lab.files(name) == {"/day1": b"a\n", "/day2": b"c\n"}


def test_a_diamond_runs_once_per_commit_and_sees_one_state(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    left, right = lab.pipeline(source), lab.pipeline(source)
    reads = {"cross": [pfs(left, "/", name="left"), pfs(right, "/", name="right")]}
    both = lab.pipeline(reads, "cat /pfs/left/* /pfs/right/* >/pfs/out/both")
    lab.newest(both)
    commit = lab.put(source, {"/a": "1"})
    assert {name: (job.job.id, job.state) for name, job in lab.settle(commit).items()} == dict.fromkeys(
        (left, right, both), (commit, SUCCESS)
    )
    assert lab.files(both) == {"/both": b"11"}


def test_two_inputs_changed_in_one_transaction_make_one_job(workers: Lab) -> None:
    lab = workers
    a, b = lab.repo("a"), lab.repo("b")
    name = lab.pipeline({"cross": [pfs(a, name="a"), pfs(b, name="b")]}, 'cat "$a" "$b" >/pfs/out/ab')
    with lab.transaction() as transaction:
        for repo in (a, b):
            lab.start(repo)
    for repo, text in ((a, "x"), (b, "y")):
        lab.write(repo, transaction, {"/f": text})
        lab.finish(repo, transaction)
    jobs = lab.settle(transaction)
    assert (jobs[name].job.id, jobs[name].state) == (transaction, SUCCESS)
    assert lab.files(name) == {"/ab": b"xy"}


def test_a_job_is_stopped_with_a_reason(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source, "sleep 1000")
    below = lab.pipeline(name)
    commit = lab.put(source, {"/a": "1"})
    lab.eventually(lambda: lab.job(name, commit).state == JobState.JOB_RUNNING, "running job")

    lab.client.stop_job(commit, name, "enough", project_name=lab.project)

    jobs = lab.settle(commit)
    assert (jobs[name].state, "enough" in jobs[name].reason) == (KILLED, True)
    assert jobs[below].state in (UNRUNNABLE, KILLED)
    lab.client.stop_job(commit, name, project_name=lab.project)  # one that has ended: no error
    assert lab.job(name, commit).state == KILLED


def test_a_job_whose_pipeline_is_stopped_or_updated_is_killed(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source, "sleep 1000")
    first = lab.put(source, {"/a": "1"})
    lab.eventually(lambda: lab.job(name, first).state == JobState.JOB_RUNNING, "running job")
    lab.pipeline(source, name=name, update=True)
    assert lab.ended(name, first).state == KILLED
    assert (lab.newest(name).state, set(lab.files(name))) == (SUCCESS, {"/a"})


def test_a_running_datum_is_restarted(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    script = 'if [ -e /tmp/conformance-$PACH_JOB_ID ]; then cp "$in" /pfs/out/; else touch /tmp/conformance-$PACH_JOB_ID; sleep 1000; fi'
    name = lab.pipeline(source, script, datumTries=100)  # each restart is a try
    commit = lab.put(source, {"/a": "1"})

    def ended_after_a_restart() -> bool:
        if lab.job(name, commit).state in TERMINAL:
            return True
        try:  # more than once, if need be: the first may come before the program has noted that it began
            lab.client.restart_datum(name, commit, ["/a"], project_name=lab.project)
        except grpc.RpcError as exc:
            if "could not be found" not in (exc.details() or ""):
                raise
        return False

    lab.eventually(ended_after_a_restart, "job that ends after its datum was restarted")
    assert lab.ended(name, commit).state == SUCCESS
    assert lab.files(name) == {"/a": b"1"}


def test_a_deleted_job_is_forgotten(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source)
    commit = lab.put(source, {"/a": "1"})
    lab.settle(commit)
    lab.client.delete_job(commit, name, project_name=lab.project)
    assert commit not in [job.job.id for job in lab.client.list_job(name, project_name=lab.project)]


def test_datums_are_listed_in_pages_by_state_and_one_by_one(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source)
    lab.run(source, {f"/{letter}": letter for letter in "abc"})
    job = lab.run(source, {"/d": "d"})[name].job

    found = lab.datums(name, job.id)
    ids = [datum.datum.id for datum in found]
    assert (ids, len(ids)) == (sorted(ids), 4)
    assert [datum.state for datum in found].count(DatumState.SKIPPED) == 3

    def page(**options: object) -> list[str]:
        request = pps_proto.ListDatumRequest(job=job, **options)
        return [datum.datum.id for datum in lab.call(lab.stubs.pps.ListDatum, request)]

    assert page(number=2) == ids[:2]
    assert page(paginationMarker=ids[1]) == ids[2:]
    assert page(number=2, reverse=True) == [ids[3], ids[2]]
    wanted = pps_proto.ListDatumRequest.Filter(state=[DatumState.SUCCESS])
    assert page(filter=wanted) == [datum.datum.id for datum in found if datum.state == DatumState.SUCCESS]
    one = lab.client.inspect_datum(name, job.id, ids[0], project_name=lab.project)
    assert (one.datum.id, one.data[0].file.commit.repo.name, one.data[0].size_bytes) == (ids[0], source, 1)
    with refused("UNKNOWN", "not found in job"):
        lab.client.inspect_datum(name, job.id, "0" * 64, project_name=lab.project)


def test_what_user_code_prints_is_kept_by_datum(logs: Lab) -> None:
    lab = logs
    source = lab.repo()
    name = lab.pipeline(source, 'echo one; echo two; cat "$in"')
    commit = lab.put(source, {"/a": "three\n", "/b": "four\n"})
    lab.settle(commit)

    def printed(**options: object) -> list[str]:
        lines = lab.client.get_job_logs(name, commit, project_name=lab.project, **options)
        return [line.message.strip() for line in lines if line.user]

    lab.eventually(lambda: len(printed()) == 6, "lines of the log")
    assert sorted(printed()) == sorted(["one", "two", "three", "one", "two", "four"])
    assert printed(data_filters=["/b"]) == ["one", "two", "four"]


# Which datums an input gives: no worker is asked


@pytest.fixture
def numbered(lab: Lab) -> tuple[Lab, str, str]:
    """Two repos, with ``/foo0 .. /foo3``, and with ``/foo11, /foo21``."""
    a, b = lab.repo("a"), lab.repo("b")
    lab.put(a, {f"/foo{number}": "a" for number in range(4)})
    lab.put(b, {f"/foo{number}1": "b" for number in range(1, 3)})
    lab.done(a)
    lab.done(b)
    return lab, a, b


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("/", ["/"]),
        ("/*", ["/d/", "/x"]),
        ("/**", ["/d/", "/d/a", "/d/b", "/x"]),
        ("/*/*", ["/d/a", "/d/b"]),
        ("d/(a|c)", ["/d/a"]),
        ("/none*", []),
    ],
)
def test_one_datum_per_match(lab: Lab, glob: str, expected: list[str]) -> None:
    repo = lab.repo()
    lab.put(repo, {"/d/a": "1", "/d/b": "2", "/x": "3"})
    lab.done(repo)
    assert lab.datums_of(pfs(repo, glob)) == [[path] for path in expected]


def test_an_empty_repo_has_no_datum_even_for_the_root(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo)
    lab.done(repo)
    assert lab.datums_of(pfs(repo, "/")) == []


def test_cross_union_join_and_group(numbered: tuple[Lab, str, str]) -> None:
    lab, a, b = numbered
    one, two = pfs(a, "/foo[01]", name="y"), pfs(b, "/*", name="z")
    assert lab.datums_of({"cross": [one, two]}) == [["/foo0", "/foo11"], ["/foo0", "/foo21"], ["/foo1", "/foo11"], ["/foo1", "/foo21"]]
    assert lab.datums_of({"union": [one, two]}) == [["/foo0"], ["/foo1"], ["/foo11"], ["/foo21"]]
    left, right = pfs(a, "/foo(?)", name="y", joinOn="$1"), pfs(b, "/foo(?)1", name="z", joinOn="$1")
    assert lab.datums_of({"join": [left, right]}) == [["/foo1", "/foo11"], ["/foo2", "/foo21"]]
    outer = pfs(a, "/foo(?)", name="y", joinOn="$1", outerJoin=True)
    assert lab.datums_of({"join": [outer, right]}) == [["/foo0"], ["/foo1", "/foo11"], ["/foo2", "/foo21"], ["/foo3"]]
    left, right = pfs(a, "/foo(?)", name="y", groupBy="$1"), pfs(b, "/foo(?)1", name="z", groupBy="$1")
    assert lab.datums_of({"group": [left, right]}) == [["/foo0"], ["/foo1", "/foo11"], ["/foo2", "/foo21"], ["/foo3"]]
