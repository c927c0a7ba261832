"""Branches: heads, provenance, triggers."""

from typing import Any

import pytest

from tests.conformance.lab import AUTO, Lab, pfs_proto, refused

Trigger = pfs_proto.Trigger


def branch_names(lab: Lab, repo: str, **options: Any) -> list[str]:
    return [info.branch.name for info in lab.client.list_branch(repo, project_name=lab.project, **options)]


def create(lab: Lab, repo: str, branch: str = "master", **fields: Any) -> None:
    lab.client.create_branch(repo, branch, project_name=lab.project, **fields)


def test_a_branch_always_has_a_head_and_is_listed_newest_first(lab: Lab) -> None:
    repo = lab.repo()
    create(lab, repo)
    create(lab, repo, "develop")
    assert branch_names(lab, repo) == ["develop", "master"]
    assert branch_names(lab, repo, reverse=True) == ["master", "develop"]
    head = lab.done(repo)
    assert (head.origin.kind, head.details.size_bytes, head.error) == (AUTO, 0, "")
    assert lab.files(repo) == {}
    lab.client.delete_branch(repo, "develop", project_name=lab.project)
    assert branch_names(lab, repo) == ["master"]


def test_a_missing_branch_is_not_found(lab: Lab) -> None:
    repo = lab.repo()
    with refused("NOT_FOUND", rf'branch "none" not found in repo {lab.project}/{repo}'):
        lab.client.inspect_branch(repo, "none", project_name=lab.project)
    with refused("NOT_FOUND", "not found"):
        lab.inspect(repo, "none")


@pytest.mark.parametrize("name", ["no/slash", "no.dot", "a b", "0123456789ab4def0123456789abcdef"])
def test_a_name_that_is_not_allowed_is_refused(lab: Lab, name: str) -> None:
    repo = lab.repo()
    with refused(["UNKNOWN", "INVALID_ARGUMENT"]):
        create(lab, repo, name)
    assert branch_names(lab, repo) == []


def test_a_branch_begins_at_any_commit_and_can_be_moved(lab: Lab) -> None:
    repo = lab.repo()
    first, second = lab.put(repo, {"/a": "1"}), lab.put(repo, {"/a": "2"})
    create(lab, repo, "old", head_commit=lab.at(repo, "master^"))
    assert (lab.head(repo, "old"), lab.head(repo)) == (first, second)
    create(lab, repo, "old", head_commit=lab.at(repo, second))
    assert lab.head(repo, "old") == second
    third = lab.put(repo, {"/b": "3"}, branch="old")
    assert (lab.head(repo, "old"), lab.head(repo)) == (third, second)
    assert set(lab.files(repo, "old")) == {"/a", "/b"}
    assert set(lab.files(repo)) == {"/a"}
    with refused("NOT_FOUND"):
        create(lab, repo, "lost", head_commit=lab.at(repo, "nowhere"))


def test_deleting_a_branch_keeps_its_commits(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.put(repo, {"/a": "1"})
    lab.client.delete_branch(repo, "master", project_name=lab.project)
    assert lab.files(repo, commit) == {"/a": b"1"}


def test_what_is_downstream_gets_open_commits_of_the_same_set(lab: Lab) -> None:
    source, left, right, out = (lab.repo(stem) for stem in ("in", "left", "right", "out"))
    create(lab, left, provenance=[lab.branch(source)])
    create(lab, right, provenance=[lab.branch(source)])
    create(lab, out, provenance=[lab.branch(left), lab.branch(right)])

    commit = lab.start(source)

    opened = list(lab.client.inspect_commit(commit))
    order = [info.commit.repo.name for info in opened]
    assert (sorted(order), order[0], order[-1]) == (sorted([source, left, right, out]), source, out)
    assert all(info.commit.id == commit and not info.HasField("finished") for info in opened)
    assert opened[-1].origin.kind == AUTO
    assert sorted(found.repo.name for found in opened[-1].direct_provenance) == sorted([left, right])
    info = lab.client.inspect_branch(out, "master", project_name=lab.project)
    assert {found.repo.name for found in info.provenance} == {source, left, right}
    info = lab.client.inspect_branch(source, "master", project_name=lab.project)
    assert {found.repo.name for found in info.subvenance} == {left, right, out}


def test_provenance_is_a_graph_without_loops_that_has_each_repo_once(lab: Lab) -> None:
    one, two, three = lab.repo(), lab.repo(), lab.repo()
    create(lab, two, provenance=[lab.branch(one)])
    with refused("UNKNOWN", r"multiple branches from the same repo, .+, cannot participate in a DAG"):
        create(lab, three, provenance=[lab.branch(two), lab.branch(one, "other")])
    with refused("UNKNOWN", "cannot be in the provenance of its own branch"):
        create(lab, one, "x", provenance=[lab.branch(one)])
    with refused("UNKNOWN" if lab.speaks_2_7 else "INTERNAL", "own provenance|cycle detected"):
        create(lab, one, provenance=[lab.branch(two)])
    lab.finish(two)
    with refused("UNKNOWN", "cannot start a commit on an output branch"):
        lab.start(two)
    with refused("UNKNOWN", "subvenan|direct provenance of"):
        lab.client.delete_branch(one, "master", project_name=lab.project)
    with refused("UNKNOWN", "subvenan|direct provenance of"):
        lab.client.delete_repo(one, project_name=lab.project)
    lab.client.delete_repo(one, force=True, project_name=lab.project)
    assert list(lab.client.inspect_branch(two, "master", project_name=lab.project).provenance) == []


# Triggers: what fires when a commit of the followed branch has finished


def following(lab: Lab, branch: str, **conditions: Any) -> str:
    """A repo with commits on ``master``, and a branch at its head that follows it; the repo."""
    repo = lab.repo()
    lab.put(repo, {"/0": ""})  # 2.12 counts a repo's very first commit of a user even where the branch has it already
    lab.put(repo, {"/0": ""})
    lab.done(repo)
    create(lab, repo, branch, head_commit=lab.at(repo), trigger=Trigger(branch="master", **conditions))
    return repo


def test_a_trigger_fires_after_so_many_commits_with_the_same_commit(lab: Lab) -> None:
    repo, below = following(lab, "slow", commits=2), lab.repo("below")
    create(lab, below, provenance=[lab.branch(repo, "slow")])
    before = lab.head(repo, "slow")
    lab.put(repo, {"/1": "1"})
    lab.done(repo)
    assert lab.head(repo, "slow") == before

    second = lab.put(repo, {"/2": "2"})

    lab.done(repo)  # a trigger fires in the transaction that finishes the commit
    assert lab.head(repo, "slow") == second
    assert lab.head(below) not in (before, second), "what a trigger sets off is a commit set of its own"
    assert set(lab.files(repo, "slow")) == {"/0", "/1", "/2"}


def test_the_commit_that_a_branch_begins_with_does_not_count_since_2_8(lab: Lab) -> None:
    repo = lab.repo()
    create(lab, repo)
    create(lab, repo, "slow", trigger=Trigger(branch="master", commits=2))
    before = lab.head(repo, "slow")
    first = lab.put(repo, {"/1": "1"})
    lab.done(repo)
    if lab.speaks_2_7:
        assert lab.head(repo, "slow") == first
        return
    assert lab.head(repo, "slow") == before
    second = lab.put(repo, {"/2": "2"})
    lab.done(repo)
    assert lab.head(repo, "slow") == second


def test_a_trigger_fires_at_a_size(lab: Lab) -> None:
    repo = following(lab, "big", size="1K")
    before = lab.head(repo, "big")
    lab.put(repo, {"/a": b"x" * 999})
    lab.done(repo)
    assert lab.head(repo, "big") == before
    second = lab.put(repo, {"/b": b"x"})
    lab.done(repo)
    assert lab.head(repo, "big") == second


def test_all_conditions_of_a_trigger_or_any(lab: Lab) -> None:
    repo = following(lab, "both", size="100", commits=2, all=True)
    create(lab, repo, "any", head_commit=lab.at(repo), trigger=Trigger(branch="master", size="100", commits=2))
    before = lab.head(repo, "both")
    first = lab.put(repo, {"/a": b"x" * 100})
    lab.done(repo)
    assert (lab.head(repo, "any"), lab.head(repo, "both")) == (first, before)
    second = lab.put(repo, {"/b": b""})
    lab.done(repo)
    assert lab.head(repo, "both") == second


def test_a_commit_with_an_error_fires_nothing(lab: Lab) -> None:
    repo = following(lab, "each", commits=1)
    before = lab.head(repo, "each")
    commit = lab.start(repo)
    lab.finish(repo, commit, error="no good")
    lab.done(repo)
    assert lab.head(repo, "each") == before
    good = lab.put(repo, {"/a": ""})
    lab.done(repo)
    assert lab.head(repo, "each") == good


@pytest.mark.parametrize(
    ("trigger", "text"),
    [
        (Trigger(commits=1), "triggers must specify a branch"),
        (Trigger(branch="master", size="much"), "invalid trigger size"),
        (Trigger(branch="master", cron_spec="often"), "invalid trigger cron spec"),
        (Trigger(branch="master", commits=-1), "negative number of commits"),
        (Trigger(branch="looping", commits=1), "triggers cannot form a loop"),
    ],
    ids=["no branch", "size", "cron", "negative", "loop"],
)
def test_a_trigger_that_cannot_work_is_refused(lab: Lab, trigger: Any, text: str) -> None:
    repo = lab.repo()
    create(lab, repo)
    with refused("UNKNOWN", text):
        create(lab, repo, "looping", trigger=trigger)
