"""Answers in which servers were seen to differ: what Pachyderm 2.12 says, and 2.7 where it says otherwise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from tests.conformance.lab import NO_ID, Lab, paths, pfs_proto

OK = "OK"


@dataclass(frozen=True)
class Row:
    """One request.

    :ivar expected: What 2.12 answers: a code, and for OK what came with it.
    :ivar in_2_7: What 2.7 answers, where it differs.
    """

    name: str
    call: Callable[[Lab, str], object]
    expected: tuple[str, object]
    in_2_7: tuple[str, object] | None = None


def delete(path: str) -> Callable[[Lab, str], object]:
    return lambda lab, repo: lab.client.delete_file(lab.at(repo), path)


def collide(lab: Lab, repo: str) -> str:
    commit = lab.start(repo)
    lab.write(repo, commit, {"/a/b": ""})
    lab.write(repo, commit, {"/a/b/c": ""})
    return commit


def drop_a_set_that_a_branch_was_made_from(lab: Lab, _: str) -> object:
    repo = lab.repo()
    commit = lab.start(repo)
    lab.client.create_branch(repo, "-x", lab.at(repo, "master.1"), project_name=lab.project)
    lab.client.drop_commit(commit)
    return sorted(info.branch.name for info in lab.client.list_branch(repo, project_name=lab.project))


def delete_all(lab: Lab, repo: str) -> object:
    lab.client.delete_file(lab.at(repo), "/")
    return paths(lab.client.list_file(lab.at(repo), "/"))


def put_to_the_root(lab: Lab, repo: str) -> object:
    lab.client.put_file_bytes(lab.at(repo), "/", b"")


ROWS = [
    *(Row(f"delete {path!r}", delete(path), ("UNKNOWN", "invalid")) for path in ("", "*", "/d/[1]", "/.", "/a\x00b", "/a/../b")),
    Row("delete '/'", delete_all, (OK, [])),
    *(
        Row(
            f"delete a missing branch {name!r}",
            lambda lab, repo, name=name: lab.client.delete_branch(repo, name, project_name=lab.project),  # type: ignore[misc]
            ("NOT_FOUND", "not found"),
            (OK, None),
        )
        for name in ("none", "")
    ),
    Row("inspect master^9 beyond the root", lambda lab, repo: lab.inspect(repo, "master^9"), ("UNKNOWN", ""), ("NOT_FOUND", "not found")),
    Row("drop an unknown set", lambda lab, _: lab.client.drop_commit(NO_ID), (OK, None)),
    Row("squash an unknown set", lambda lab, _: lab.client.squash_commit(NO_ID), (OK, None)),
    Row("jobs of an unknown set", lambda lab, _: list(lab.client.inspect_job(NO_ID)), (OK, [])),
    Row("put to /", put_to_the_root, (OK, None)),
    Row("glob of an unknown character class", lambda lab, repo: list(lab.client.glob_file(lab.at(repo), "/[[:none:]]")), (OK, [])),
    Row(
        "inspect a branch without a name",
        lambda lab, repo: lab.client.inspect_branch(repo, "", project_name=lab.project),
        ("NOT_FOUND", "not found"),
    ),
    Row("glob /{a", lambda lab, repo: list(lab.client.glob_file(lab.at(repo), "/{a")), (OK, [])),
    Row("walk /.", lambda lab, repo: paths(lab.client.walk_file(lab.at(repo), "/."))[:2], (OK, ["/", "/d/"])),
    Row(
        "walk an open commit with a collision",
        lambda lab, repo: bool(list(lab.client.walk_file(lab.at(repo, collide(lab, repo)), "/"))),
        ("UNKNOWN", "collision"),
        (OK, True),
    ),
    Row(
        "list an open commit with a collision",
        lambda lab, repo: bool(list(lab.client.list_file(lab.at(repo, collide(lab, repo)), "/"))),
        ("UNKNOWN", "collision"),
        (OK, True),
    ),
    Row("drop a set that a branch was made from", drop_a_set_that_a_branch_was_made_from, (OK, ["-x", "master"])),
    Row("list the root of an empty commit", lambda lab, _: list(lab.client.list_file(lab.at(empty(lab)), "/")), (OK, [])),
    Row("inspect the root of an empty commit", lambda lab, _: lab.client.inspect_file(lab.at(empty(lab)), "/"), ("NOT_FOUND", "not found")),
    Row("files of an unknown commit", lambda lab, repo: list(lab.client.list_file(lab.at(repo, NO_ID), "/")), ("NOT_FOUND", "not found")),
    Row("an empty path is the root", lambda lab, repo: paths(lab.client.list_file(lab.at(repo), ""))[:1], (OK, ["/d/"])),
]


def empty(lab: Lab) -> str:
    repo = lab.repo()
    lab.put(repo)
    lab.done(repo)
    return repo


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_answer_is_pachyderms(lab: Lab, row: Row) -> None:
    repo = lab.repo()
    lab.put(repo, {"/d/1": "1", "/e": ""})
    lab.done(repo)
    code, value = row.in_2_7 if lab.speaks_2_7 and row.in_2_7 else row.expected
    answer = answer_of(lambda: row.call(lab, repo))
    assert answer == (code, value) if code == OK else (answer[0] == code and str(value) in answer[1]), answer


def answer_of(call: Callable[[], object]) -> tuple[str, Any]:
    """OK and what came with it, or the error's code and text."""
    try:
        return OK, call()
    except grpc.RpcError as exc:
        return exc.code().name, exc.details()


def test_lists_of_repos_are_by_name_since_2_8_and_newest_first_before(lab: Lab) -> None:
    made = [lab.repo(stem) for stem in ("b", "c", "a")]
    request = pfs_proto.ListRepoRequest(type="user", projects=[pfs_proto.Project(name=lab.project)])
    listed = [name for info in lab.call(lab.stubs.pfs.ListRepo, request) if (name := info.repo.name) in made]
    assert listed == (made[::-1] if lab.speaks_2_7 else sorted(made))
