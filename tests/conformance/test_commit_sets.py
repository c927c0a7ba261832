"""Commit sets: what belongs to one, what is squashed and dropped."""

import pytest

from tests.conformance.lab import Lab, refused


def derived(lab: Lab) -> tuple[str, str]:
    """A repo, and one whose branch is made from it."""
    source, out = lab.repo("in"), lab.repo("out")
    lab.client.create_branch(out, "master", provenance=[lab.branch(source)], project_name=lab.project)
    lab.finish(out)  # what it begins with is open, and no later commit finishes before it
    return source, out


def both(lab: Lab, source: str, out: str, files: dict[str, str]) -> str:
    """A commit to the source, with the one downstream, which nobody else finishes."""
    commit = lab.put(source, files)
    lab.finish(out, commit)
    lab.done(source, commit)
    lab.done(out, commit)
    return commit


def test_a_set_shows_the_older_commit_that_it_read(lab: Lab) -> None:
    left, right, out = (lab.repo(stem) for stem in ("left", "right", "out"))
    lab.client.create_branch(out, "master", provenance=[lab.branch(left), lab.branch(right)], project_name=lab.project)
    lab.finish(out)
    older, newer = lab.put(left, {"/l": "1"}), lab.put(right, {"/r": "1"})
    assert lab.inspect(left, newer).commit.id == older
    found = {info.commit.repo.name: info.commit.id for info in lab.client.inspect_commit(newer)}
    assert found == {left: older, right: newer, out: newer}


def test_sets_are_listed_newest_first_with_their_members(lab: Lab) -> None:
    source, out = derived(lab)
    ids = [both(lab, source, out, {f"/{n}": ""}) for n in range(2)]
    sets = [found for found in lab.client.list_commit(project_name=lab.project) if found.commit_set.id in ids]
    assert [found.commit_set.id for found in sets] == ids[::-1]
    assert [sorted(info.commit.repo.name for info in found.commits) for found in sets] == [sorted([source, out])] * 2


def test_squash_and_drop_follow_their_rules(lab: Lab) -> None:
    source, out = derived(lab)
    first, second = both(lab, source, out, {"/a": "1"}), both(lab, source, out, {"/b": "2"})

    def count(repo: str, **filters: bool) -> int:
        return len(lab.commits(repo, **filters))

    assert (count(source), count(out), count(out, all=True)) == (2, 0, 3)
    with refused("UNKNOWN", "cannot drop a commit that has children"):
        lab.client.drop_commit(first)
    with refused("UNKNOWN", "cannot squash a commit that has no children"):
        lab.client.squash_commit(second)
    lab.client.squash_commit(first)
    assert (count(source), count(out, all=True)) == (1, 2)
    assert set(lab.files(source, second)) == {"/a", "/b"}, "squashing changes nothing that later commits show"
    lab.client.drop_commit(second)
    assert (count(source), count(out, all=True)) == (0, 1)
    assert lab.files(source) == {}


def test_a_squash_relinks_the_children(lab: Lab) -> None:
    repo = lab.repo()
    ids = [lab.put(repo, {f"/{n}": ""}) for n in range(3)]
    for commit in ids:
        lab.done(repo, commit)
    lab.client.squash_commit(ids[1])
    assert lab.commits(repo) == [ids[2], ids[0]]
    assert lab.inspect(repo, ids[2]).parent_commit.id == ids[0]
    assert set(lab.files(repo)) == {"/0", "/1", "/2"}


def test_what_another_set_was_made_from_is_kept(lab: Lab) -> None:
    """The second set reads the commit of the first."""
    left, right, out = (lab.repo(stem) for stem in ("left", "right", "out"))
    lab.client.create_branch(out, "master", provenance=[lab.branch(left), lab.branch(right)], project_name=lab.project)
    lab.finish(out)
    first = lab.put(left, {"/l": "1"})
    lab.finish(out, first)
    second = lab.put(right, {"/r": "1"})
    lab.finish(out, second)
    for commit in (first, second):
        lab.done(out, commit)
    with refused("UNKNOWN", r"commit set .+ cannot be dropped because it has subvenant commit sets"):
        lab.client.drop_commit(first)


def test_dropping_an_open_commit_leaves_the_branch_where_it_was(lab: Lab) -> None:
    repo = lab.repo()
    first = lab.put(repo, {"/a": "1"})
    second = lab.start(repo)
    lab.write(repo, second, {"/b": "2"})
    lab.client.drop_commit(second)
    assert (lab.head(repo), lab.commits(repo)) == (first, [first])
    assert lab.files(repo) == {"/a": b"1"}
    third = lab.put(repo, {"/c": "3"})
    assert lab.inspect(repo, third).parent_commit.id == first


@pytest.mark.parametrize("operation", ["drop_commit", "squash_commit"])
def test_a_set_is_gone_with_all_its_members(lab: Lab, operation: str) -> None:
    source, out = derived(lab)
    first, second = both(lab, source, out, {"/a": "1"}), both(lab, source, out, {"/b": "1"})
    gone = first if operation == "squash_commit" else second
    getattr(lab.client, operation)(gone)
    with refused("NOT_FOUND", "no commits found for commitset"):
        list(lab.client.inspect_commit(gone))
