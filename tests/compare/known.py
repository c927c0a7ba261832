"""What minipachd is known to answer otherwise than a real Pachyderm, and why. The rows stand in ``docs/minipachd.md``, too."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.compare.sequences import UNKNOWN, Call

Answer = tuple[str, Any]

TWO_FAULTS = "call with two faults: each server names the one that it looks for first"


def _overlooked_collision(call: Call, left: Answer, right: Answer) -> bool:
    return ("path collision" in str(left[1])) != ("path collision" in str(right[1]))


def _unfinished_base(call: Call, left: Answer, right: Answer) -> bool:
    return ("base commit" in str(left[1])) != ("base commit" in str(right[1]))


_LONG = "received metadata size exceeds soft limit"  # the stack of a panic is longer than gRPC lets an error be


def _crash(call: Call, left: Answer, right: Answer) -> bool:
    """Pachyderm's handler ends with a Go panic, which gRPC reports; minipachd refuses or answers."""
    return any(("panic: runtime error" in one or _LONG in one) for one in (str(left[1]), str(right[1])))


def _capitals(call: Call, left: Answer, right: Answer) -> bool:
    return call.name == "ModifyFile" and call.arguments["commit"] == UNKNOWN.upper() and {left[0], right[0]} == {"OK", "NOT_FOUND"}


def _shared_empty_commit(call: Call, left: Answer, right: Answer) -> bool:
    """Branches of one repo that lose all their commits share an empty one, which is open or closed as the first of them needs it.

    Which is the first is the order of rows in PostgreSQL.
    """
    if not call.name.startswith(("Drop", "Squash")) or (left[0], right[0]) != ("OK", "OK"):
        return False
    heads, others = left[1][1][1], right[1][1][1]
    shared = Counter((branch.partition("@")[0], commit) for branch, commit, _ in heads)
    return [head[:2] for head in heads] == [head[:2] for head in others] and all(
        shared[one[0].partition("@")[0], one[1]] > 1 for one, other in zip(heads, others, strict=True) if one[2] != other[2]
    )


def _escaped(call: Call, left: Answer, right: Answer) -> bool:
    pattern = call.arguments.get("pattern" if call.name == "GlobFile" else "path", "")
    return call.name in ("GetFile", "GetFileTAR", "GlobFile") and "\\" in re.split(r"[*?\[\]{}!()@+^]", pattern, maxsplit=1)[0]


KNOWN: list[tuple[str, Callable[[Call, Answer, Answer], bool]]] = [
    ("collision that Pachyderm overlooks, because another path sorts between file and directory", _overlooked_collision),
    ("read of an open commit on top of another open one: minipachd shows what both hold so far", _unfinished_base),
    ("crash of Pachyderm's handler (a Go panic)", _crash),
    ("id in capitals that no commit has: Pachyderm's ModifyFile makes a branch of that name", _capitals),
    ("empty commit that branches of one repo share: open or closed as PostgreSQL orders the branches", _shared_empty_commit),
    (r"pattern with \ before its first other special character: Pachyderm looks for files that begin with that text", _escaped),
]


def explanation(call: Call, left: Answer, right: Answer) -> str:
    """The reason, or nothing."""
    return next((reason for reason, applies in KNOWN if applies(call, left, right)), "")


def behind_error(answer: Answer) -> object:
    """Of a call that failed, the state behind it; the words of the error are each server's own."""
    return answer[1][1] if isinstance(answer[1], list) else None


def may_have_two_faults(left: Answer, right: Answer) -> bool:
    """Whether both refuse the call, each with a code of its own, and nothing else differs: then :func:`simpler` calls tell."""
    return "OK" not in (left[0], right[0]) and left[0] != right[0] and behind_error(left) == behind_error(right)


def simpler(call: Call) -> Iterator[Call]:
    """The call with some of the things that it names left out or made harmless: all ways to do so, the simplest first.

    They may name what :data:`HARMLESS_CALLS` make.
    """
    ways: dict[str, list[dict[str, Any]]] = {}
    for name, value in call.arguments.items():
        if name in _HARMLESS and value != _HARMLESS[name] and call.name not in ("CreateRepo", "DeleteRepo"):
            ways[name] = [{name: _HARMLESS[name]}, {}]
        elif name in ("edits", "provenance"):
            harmless = [{"kind": "append", "path": "/harmless", "data": "1"}] if name == "edits" else []
            ways[name] = [{name: harmless}, *({name: [one]} for one in value if len(value) > 1), {}]
    if "old_commit" in call.arguments:
        ways["old"] = [{"old_repo": "", "old_commit": "", "old_path": ""}, {}]
    for changes in itertools.product(*ways.values()):
        arguments = dict(call.arguments)
        for change in changes:
            arguments.update(change)
        if arguments != call.arguments:
            yield replace(call, arguments=arguments)


HARMLESS_CALLS = [
    Call(-2, "CreateRepo", {"repo": "harmless"}),
    Call(-1, "ModifyFile", {"repo": "harmless", "commit": "master", "edits": [{"kind": "put", "path": "/a", "data": "1"}]}),
]

_HARMLESS: dict[str, Any] = {
    "repo": "harmless",
    "branch": "harmless",
    "commit": "master",
    "path": "/",
    "head": "",
    "parent": "",
    "to": "",
    "older": "",
    "number": 0,
    "reverse": False,
    "origin": 0,
}
