"""The comparison itself: it finds nothing between a server and itself, and the shortest sequence where two differ."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compare.__main__ import Difference, compare, explained, main, shrink
from tests.compare.known import may_have_two_faults, simpler
from tests.compare.sequences import Call, sequence
from tests.support import Engine


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    root: Path = tmp_path_factory.mktemp("compare")
    with Engine(root / "new", speak="2.12") as new, Engine(root / "old", speak="2.7") as old:
        yield new.address, old.address


def test_a_seed_is_a_sequence() -> None:
    assert sequence(7, 20) == sequence(7, 20) != sequence(8, 20)


def test_a_server_answers_as_itself(servers, capsys):
    assert main([servers[0], servers[0], "--sequences", "6", "--jobs", "1"]) == 0
    assert "6 sequences of 16 calls" in capsys.readouterr().out


def test_a_difference_comes_with_the_shortest_sequence(servers):
    calls = [
        Call(0, "CreateRepo", {"repo": "r"}),
        Call(1, "ModifyFile", {"repo": "r", "commit": "dev", "edits": [{"kind": "put", "path": "/a", "data": "1"}]}),
        Call(2, "DeleteBranch", {"repo": "r", "branch": "none", "force": False}),
        Call(3, "InspectRepo", {"repo": "r"}),
    ]
    found = compare(servers, calls)
    assert found is not None
    assert found.kind == ("DeleteBranch", "NOT_FOUND", "OK")
    shortest, again = shrink(servers, calls, found)
    assert (shortest, again.kind) == ([calls[2]], found.kind)


def test_two_faults_explain_a_difference_only_where_each_alone_is_refused_alike() -> None:
    call = Call(2, "CreateBranch", {"repo": "r", "branch": "a b", "head": "none^9", "provenance": []})
    assert {(one.arguments["branch"], one.arguments["head"]) for one in simpler(call) if one.arguments["repo"] == "r"} == {
        ("harmless", ""),
        ("harmless", "none^9"),
        ("a b", ""),
    }
    assert may_have_two_faults(("NOT_FOUND", ["no branch", []]), ("UNKNOWN", ["bad name", []]))
    assert not may_have_two_faults(("NOT_FOUND", ["no branch", []]), ("UNKNOWN", ["bad name", ["r@master"]]))
    assert not may_have_two_faults(("OK", [None, []]), ("UNKNOWN", ["bad name", []]))


def test_one_fault_with_two_codes_is_not_explained(servers: tuple[str, str]) -> None:
    """Of the calls that name one thing of the two, both refuse none with the other code."""
    calls = [Call(0, "CreateRepo", {"repo": "r"}), Call(1, "InspectCommit", {"repo": "r", "commit": "none"})]
    made_up = Difference(calls[1], ("NOT_FOUND", "no branch"), ("UNKNOWN", "no branch"), "")
    assert explained(servers, calls, made_up).reason == ""
