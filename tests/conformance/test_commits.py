"""Commits: their life, references to them, lists, what is waited for."""

from typing import Any

from tests.conformance.lab import AUTO, FINISHED, USER, Lab, paths, pfs_proto, refused


def test_a_commit_is_started_written_and_finished(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.client.start_commit(repo, "master", description="begun", project_name=lab.project)
    assert (len(commit.id), commit.id[12], commit.repo.name or commit.branch.repo.name) == (32, "4", repo)
    assert lab.head(repo) == commit.id
    info = lab.inspect(repo, commit.id)
    assert (info.origin.kind, info.description, info.HasField("finishing"), info.HasField("finished")) == (USER, "begun", False, False)
    lab.write(repo, commit.id, {"/a": "1"})
    assert lab.read(repo, "/a", commit.id) == b"1", "an open commit can be read"
    lab.finish(repo, commit.id, description="ended")
    info = lab.done(repo, commit.id)
    assert (info.description, info.error, info.details.size_bytes) == ("ended", "", 1)
    assert info.started.seconds <= info.finishing.seconds <= info.finished.seconds


def test_answers_name_the_branch_in_2_7_and_leave_it_out_since(lab: Lab) -> None:
    """What a client must not read: the branch of a commit."""
    repo = lab.repo()
    started = lab.client.start_commit(repo, "master", project_name=lab.project)
    lab.write(repo, started.id, {"/a": "1"})
    lab.finish(repo, started.id)
    second = lab.put(repo)
    (newest, oldest) = list(lab.client.list_commit(repo, project_name=lab.project))
    file = lab.client.inspect_file(lab.at(repo), "/a")
    found = {
        "listed": newest.commit.branch.name,
        "parent": newest.parent_commit.branch.name,
        "inspected": lab.inspect(repo, second).commit.branch.name,
        "in its set": next(iter(lab.client.inspect_commit(second))).commit.branch.name,
        "head": lab.client.inspect_branch(repo, "master", project_name=lab.project).head.branch.name,
        "of a file": file.file.commit.branch.name,
    }
    assert found == dict.fromkeys(found, "master" if lab.speaks_2_7 else "")
    # What every server fills in.
    assert (oldest.commit.id, newest.commit.repo.name, newest.commit.repo.project.name) == (started.id, repo, lab.project)
    assert (newest.parent_commit.id, file.file.commit.repo.name, file.file.commit.id) == (started.id, repo, second)


def test_a_second_start_is_refused_until_the_first_is_finished(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.start(repo)
    with refused("UNKNOWN", r"parent commit .* has not been finished"):
        lab.start(repo)
    lab.finish(repo, commit)
    with refused("UNKNOWN", r"commit [^ ]+ has already finished"):
        lab.finish(repo, commit)
    assert lab.start(repo) != commit


def test_finish_takes_every_form_of_reference(lab: Lab) -> None:
    repo = lab.repo()
    for reference in ("master", "id"):
        commit = lab.start(repo)
        lab.finish(repo, commit if reference == "id" else reference)
        assert lab.done(repo, commit).HasField("finished")


def test_references_reach_ancestors_by_every_operator(lab: Lab) -> None:
    repo = lab.repo()
    ids = [lab.put(repo, {f"/{n}": ""}) for n in range(3)]
    reached = [lab.inspect(repo, f"master{suffix}").commit.id for suffix in ("^", "~1", "^^", "~2", "^2", ".1", ".3")]
    assert reached == [ids[n] for n in (1, 1, 0, 0, 0, 0, 2)]
    assert lab.inspect(repo, f"{ids[2]}^2").commit.id == ids[0]
    assert lab.read(repo, "/0", "master^2") == b""


def test_a_fork_has_the_files_of_its_parent(lab: Lab) -> None:
    repo = lab.repo()
    first = lab.put(repo, {"/a": "1"})
    lab.put(repo, {"/a": "2"})
    patch = lab.start(repo, "patch", parent=lab.at(repo, first))
    lab.write(repo, patch, {"/b": "3"})
    lab.finish(repo, patch)
    assert lab.inspect(repo, patch).parent_commit.id == first
    assert lab.files(repo, "patch") == {"/a": b"1", "/b": b"3"}
    with refused("NOT_FOUND", "not found"):
        lab.start(repo, "patch2", parent=lab.at(repo, "nowhere"))


def test_a_commit_with_an_error_stays_readable_and_hands_nothing_down(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/good": "1"})
    bad = lab.start(repo)
    lab.write(repo, bad, {"/bad": "2"})
    lab.finish(repo, bad, error="no good")
    assert lab.done(repo, bad).error == "no good"
    good = lab.put(repo, {"/more": "3"})
    assert set(lab.files(repo, bad)) == {"/bad", "/good"}
    assert set(lab.files(repo, good)) == {"/good", "/more"}


def test_lists_are_newest_first_and_can_be_cut(lab: Lab) -> None:
    repo = lab.repo()
    lab.client.create_branch(repo, "master", project_name=lab.project)
    ids = [lab.put(repo, {"/f": str(n)}) for n in range(4)]
    assert lab.commits(repo) == ids[::-1], "users' commits"
    everything = list(lab.client.list_commit(repo, all=True, project_name=lab.project))
    assert [info.origin.kind for info in everything].count(AUTO) == 1
    assert lab.commits(repo, number=2) == ids[:1:-1]
    assert lab.commits(repo, reverse=True, number=2) == ids[:2]
    assert lab.commits(repo, to_commit=lab.at(repo, ids[3]), from_commit=lab.at(repo, ids[1])) == [ids[3], ids[2]]
    assert lab.commits(repo, to_commit=lab.at(repo), from_commit=lab.at(repo, "master^2")) == ids[::-1], "only an id ends a list"
    assert lab.commits(repo, to_commit=lab.at(repo)) == ids[::-1]
    assert lab.commits(repo, to_commit=lab.at(repo), number=1) == ids[3:]
    with refused("UNKNOWN", "from.* commit without .*to"):
        lab.commits(repo, from_commit=lab.at(repo, ids[0]))
    with refused("UNKNOWN", "Reverse"):
        lab.commits(repo, to_commit=lab.at(repo), reverse=True)


def test_a_list_up_to_a_commit_is_its_own_branch_only(lab: Lab) -> None:
    repo = lab.repo()
    trunk = [lab.put(repo, {"/a": str(n)}) for n in range(2)]
    side = lab.start(repo, "side", parent=lab.at(repo, trunk[0]))
    lab.finish(repo, side)
    assert lab.commits(repo, to_commit=lab.at(repo, "side")) == [side, trunk[0]]
    assert lab.commits(repo, to_commit=lab.at(repo)) == trunk[::-1]
    assert set(lab.commits(repo)) == {side, *trunk}


def test_a_list_is_bounded_by_the_time_of_start(lab: Lab) -> None:
    repo = lab.repo()
    ids = [lab.put(repo, {"/f": str(n)}) for n in range(3)]
    middle = lab.inspect(repo, ids[1]).started

    def listed(**fields: Any) -> list[str]:
        request = pfs_proto.ListCommitRequest(repo=lab.pfs.repo_message(repo), origin_kind=USER, started_time=middle, **fields)
        return [info.commit.id for info in lab.call(lab.stubs.pfs.ListCommit, request)]

    assert listed() == ids[:1], "before it, which is left out"
    assert listed(reverse=True) == ids[2:], "after it"


def test_waiting_returns_when_the_whole_set_is_finished(lab: Lab) -> None:
    source, out = lab.repo(), lab.repo("out")
    lab.client.create_branch(out, "master", provenance=[lab.branch(source)], project_name=lab.project)
    lab.finish(out)  # what it begins with is open, and no later commit finishes before it
    commit = lab.start(source)
    request = pfs_proto.InspectCommitSetRequest(commit_set=pfs_proto.CommitSet(id=commit), wait=True)
    waiting = lab.call(lab.stubs.pfs.InspectCommitSet, request)
    lab.finish(source, commit)
    lab.finish(out, commit)
    assert {info.commit.repo.name: info.HasField("finished") for info in waiting} == {source: True, out: True}


def test_waiting_for_a_commit_that_is_dropped_ends_with_an_error(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.start(repo)
    request = pfs_proto.InspectCommitRequest(commit=lab.commit_message(repo, commit), wait=FINISHED)
    call = lab.stubs.pfs.InspectCommit.future(request, timeout=lab.target.wait_seconds, metadata=lab.stubs.metadata)
    lab.client.drop_commit(commit)
    with refused(["UNKNOWN", "NOT_FOUND"], "was deleted|not found"):
        call.result()


def test_subscribers_get_what_is_there_and_what_comes(lab: Lab) -> None:
    repo = lab.repo()
    old = lab.put(repo, {"/a": ""})
    request = pfs_proto.SubscribeCommitRequest(repo=lab.pfs.repo_message(repo), branch="master", state=FINISHED, origin_kind=USER)
    stream = lab.call(lab.stubs.pfs.SubscribeCommit, request)
    assert next(stream).commit.id == old
    new = lab.put(repo, {"/b": ""})
    assert next(stream).commit.id == new
    stream.cancel()


def test_clear_drops_what_was_written(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/kept": "1"})
    lab.done(repo)  # an open commit is read over what it is based on
    commit = lab.start(repo)
    lab.write(repo, commit, {"/gone": "2"})
    request = pfs_proto.ClearCommitRequest(commit=lab.commit_message(repo, commit))
    lab.call(lab.stubs.pfs.ClearCommit, request)
    assert paths(lab.client.list_file(lab.at(repo, commit), "/")) == ["/kept"]
    lab.finish(repo, commit)
    with refused("UNKNOWN", "cannot clear finished commit"):
        lab.call(lab.stubs.pfs.ClearCommit, request)


def test_those_that_changed_a_file_are_found(lab: Lab) -> None:
    repo = lab.repo()
    ids = [lab.put(repo, files) for files in ({"/a": "1"}, {"/b": "1"}, {"/a": "2"})]
    lab.done(repo)
    request = pfs_proto.FindCommitsRequest(start=lab.commit_message(repo), file_path="/a")
    answers = list(lab.call(lab.stubs.pfs.FindCommits, request))
    assert [answer.found_commit.id for answer in answers if answer.found_commit.id] == [ids[2], ids[0]]
    assert answers[-1].last_searched_commit.id == ids[0]


def test_a_collision_of_a_file_with_a_directory_is_the_commits_error(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.start(repo)
    lab.write(repo, commit, {"/a": "a file"})
    lab.write(repo, commit, {"/a/b": "below it"})
    lab.finish(repo, commit)
    assert "file / directory path collision" in lab.done(repo, commit).error
    good = lab.put(repo, {"/c": ""})
    assert set(lab.files(repo, good)) == {"/c"}
