"""Random sequences of PFS calls: what is called, with what, by a seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = "0123456789ab4cdef0123456789abcde"  # an id that no server has

REPOS = ("r", "q", "p")
BRANCHES = ("master", "dev", "x")
ODD_NAMES = ("", "-x", "_", "a.b", "a/b", "a b", "ä", UNKNOWN, "master^", "x" * 70, "9")
ODD_REPOS = ("-x", "_", "a b", "ä", UNKNOWN, "x" * 70, "9")  # what is after a dot is a repo's type, of which the database knows few
PATHS = ("/a", "/a/b", "/a/b/c", "/a.b", "/a-b/c", "/d/1", "/d/2", "/d/e/3", "/f", "/d")
ODD_PATHS = (
    *(
        "",
        "/",
        "//",
        "a",
        "/a/",
        "//a",
        "/a//b",
        "/a/b/",
        "/d/",
        "d/",
        "/.",
        "/..",
        "/./a",
        "/a/.",
        "/d/..",
        "/a/../d",
        "/a/./b",
        "..",
        ".",
    ),
    *("/a*", "*", "/d/[1]", "/{a}", "/a?", "/(a)", "/a@b", "/a+b", "/a^b", "/a!b", "/a\x00b", "/ä", "/a\nb", "/a b", "/~", "/a\\b", "/a$1"),
    *("/none", "/d/none/", "/" + "n" * 300, "/.a", "/...", "/a.", "/A"),
)
GLOBS = (
    *(
        "/*",
        "/**",
        "*",
        "**",
        "/",
        "",
        "/d/*",
        "/*/",
        "/*/*",
        "/**/1",
        "/d/**",
        "/a",
        "/a/",
        "/d/1",
        "/?",
        "/??",
        "/none*",
        "/a/**/c",
        "d/*",
    ),
    *("/d/[12]", "/d/[1-2]", "/d/[!1]", "/d/[^1]", "/d/[[:digit:]]", "/[a-d]", "/{a,d}", "/{a,d}/*", "/{d/1,d/2}", "/d/{1,e/3}", "/{a,}"),
    *("/(a)", "/@(a|f)", "/?(a)", "/*(a)", "/+(a)", "/!(a)", "/(d)/(*)", "/d/!(1)", "/d/@(1|2)", "/!(a|d)/*"),
    *(
        "/{a",
        "/[a",
        "/(a",
        "/a}",
        "/a]",
        "/a)",
        "/a\\",
        "/\\a",
        "/[",
        "/[]",
        "/[!]",
        "/[b-a]",
        "/{",
        "/{}",
        "/()",
        "/@",
        "/@()",
        "/a|b",
        "/+",
    ),
    *(
        "/.",
        "/..",
        "/./*",
        "/d/../*",
        "//",
        "//*",
        "/d//*",
        "/a\x00",
        "/ä*",
        "/[[:none:]]",
        "/*.b",
        "/*-*",
        "/a.*",
        "/***",
        "/**/*",
        "/**/",
    ),
)
SUFFIXES = (
    "^",
    "~",
    "^^",
    "~2",
    "^1",
    "^0",
    "~9",
    "^9",
    ".1",
    ".2",
    ".0",
    ".9",
    ".",
    "^a",
    "^-1",
    "^1^",
    "~^",
    "^2^",
    ".2^",
    ".2^1",
    ".1^1",
    ".-1",
)


@dataclass(frozen=True)
class Call:
    """One call of a sequence.

    :ivar number: Its place in the sequence as it was made, which it keeps when others are taken out.
    :ivar name: Of the method, or of a short form that :mod:`.players` knows.
    :ivar arguments: Texts, numbers and lists of them. A commit is named as clients do, or by the call that brought it: ``#3`` is the set
        id that was first seen after call 3.
    """

    number: int
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.number:>3} {self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


def sequence(seed: int, length: int) -> list[Call]:
    """The calls that a seed stands for: first some that make repos and commits, then any."""
    return list(_Maker(random.Random(seed), length).calls())


class _Maker:
    def __init__(self, chance: random.Random, length: int) -> None:
        self._chance, self._length = chance, length
        self._number = 0
        self._odd = chance.random() < 0.5
        """Whether odd names, paths and references come up often: half of the sequences are about what usually happens."""
        self._made: list[int] = []

    def calls(self) -> Iterator[Call]:
        chance = self._chance
        yield self._call("CreateRepo", repo="r")
        yield self._write("r", "master")
        if chance.random() < 0.5:
            yield self._call("CreateRepo", repo="q")
        if chance.random() < 0.4:
            yield self._call("CreateBranch", repo="q", branch="master", head="", provenance=[["r", "master"]])
        kinds, weights = zip(*_KINDS, strict=True)
        while self._number < self._length:
            (kind,) = chance.choices(kinds, weights)
            yield kind(self)

    def _call(self, name: str, **arguments: Any) -> Call:
        call = Call(self._number, name, arguments)
        if name in ("StartCommit", "ModifyFile", "CreateBranch"):
            self._made.append(self._number)
        self._number += 1
        return call

    # Names

    def _repo(self) -> str:
        if self._is_odd(0.03):
            return self._chance.choice(ODD_REPOS)
        return self._chance.choices(REPOS, (8, 4, 1))[0]

    def _branch(self) -> str:
        return self._chance.choice(ODD_NAMES) if self._is_odd(0.06) else self._chance.choices(BRANCHES, (8, 3, 2))[0]

    def _reference(self) -> str:
        """A commit: a branch, or the set that a call brought, perhaps with ancestry."""
        chance = self._chance
        what = chance.random()
        if what < 0.45 or not self._made:
            base = self._branch()
        elif what < 0.95:
            base = f"#{chance.choice(self._made)}"
        else:
            base = chance.choice((UNKNOWN, "", "none", UNKNOWN.upper()))
        return base + (chance.choice(SUFFIXES) if chance.random() < (0.4 if self._odd else 0.15) else "")

    def _set(self) -> str:
        return UNKNOWN if not self._made or self._chance.random() < 0.1 else f"#{self._chance.choice(self._made)}"

    def _path(self) -> str:
        return self._chance.choice(ODD_PATHS) if self._is_odd(0.25) else self._chance.choice(PATHS)

    def _is_odd(self, rate: float) -> bool:
        return self._chance.random() < (rate * 2 if self._odd else rate * 0.2)

    # Calls

    def _write(self, repo: str | None = None, reference: str | None = None) -> Call:
        chance = self._chance
        edits = []
        for _ in range(chance.choice((1, 1, 2, 3, 4))):
            kind = chance.choices(("put", "append", "empty", "delete", "copy"), (8, 3, 1, 4, 2))[0]
            edit = {"kind": kind, "path": self._path()}
            if kind != "delete" and not edit["path"].strip("/"):
                edit["path"] = "/a"  # a put to the root and a delete of it let a real server call itself without end
            if kind in ("put", "append"):
                edit["data"] = chance.choice(("", "1", "22", "333", "x" * 40))
            if kind == "delete" and chance.random() < 0.3:
                edit["path"] = chance.choice(("/d/", "/a/", "/", "/a/b/", "/none/"))
            if kind == "copy":
                edit |= {"of_repo": self._repo(), "of": self._reference(), "source": self._path(), "append": chance.random() < 0.3}
            if chance.random() < 0.03:
                edit["datum"] = chance.choice(("default", "other"))
            edits.append(edit)
        return self._call("ModifyFile", repo=repo or self._repo(), commit=reference or self._reference(), edits=edits)

    def _create_repo(self) -> Call:
        return self._call(
            "CreateRepo", repo=self._repo(), update=self._chance.random() < 0.2, description=self._chance.choice(("", "text"))
        )

    def _delete_repo(self) -> Call:
        return self._call("DeleteRepo", repo=self._repo(), force=self._chance.random() < 0.3)

    def _create_branch(self) -> Call:
        chance = self._chance
        provenance = []
        if chance.random() < 0.35:
            provenance = [[self._repo(), self._branch()] for _ in range(chance.choice((1, 1, 2)))]
        head = self._reference() if chance.random() < 0.5 else ""
        return self._call("CreateBranch", repo=self._repo(), branch=self._branch(), head=head, provenance=provenance)

    def _delete_branch(self) -> Call:
        return self._call("DeleteBranch", repo=self._repo(), branch=self._branch(), force=self._chance.random() < 0.3)

    def _start(self) -> Call:
        parent = self._reference() if self._chance.random() < 0.25 else ""
        return self._call(
            "StartCommit", repo=self._repo(), branch=self._branch(), parent=parent, description=self._chance.choice(("", "text"))
        )

    def _finish(self) -> Call:
        error = "broken" if self._chance.random() < 0.1 else ""
        return self._call(
            "FinishCommit", repo=self._repo(), commit=self._reference(), description=self._chance.choice(("", "end")), error=error
        )

    def _clear(self) -> Call:
        return self._call("ClearCommit", repo=self._repo(), commit=self._reference())

    def _drop_set(self) -> Call:
        return self._call("DropCommitSet", set=self._set())

    def _squash_set(self) -> Call:
        return self._call("SquashCommitSet", set=self._set())

    def _drop_one(self) -> Call:
        name = self._chance.choice(("DropCommit", "SquashCommit"))
        return self._call(name, repo=self._repo(), commit=self._reference(), recursive=self._chance.random() < 0.4)

    def _inspect_commit(self) -> Call:
        return self._call("InspectCommit", repo=self._repo(), commit=self._reference())

    def _list_commit(self) -> Call:
        chance = self._chance
        to = self._reference() if chance.random() < 0.5 else ""
        older = self._reference() if chance.random() < 0.3 else ""
        return self._call(
            "ListCommit",
            repo=self._repo(),
            to=to,
            older=older,
            number=chance.choice((0, 0, 1, 2)),
            reverse=chance.random() < 0.2,
            all=chance.random() < 0.5,
            origin=chance.choice((0, 0, 1, 2)),
        )

    def _inspect_set(self) -> Call:
        return self._call("InspectCommitSet", set=self._set())

    def _inspect_branch(self) -> Call:
        return self._call("InspectBranch", repo=self._repo(), branch=self._branch())

    def _list_branch(self) -> Call:
        return self._call("ListBranch", repo=self._repo(), reverse=self._chance.random() < 0.3)

    def _inspect_repo(self) -> Call:
        return self._call("InspectRepo", repo=self._repo())

    def _list_repo(self) -> Call:
        return self._call("ListRepo", type=self._chance.choice(("", "user", "meta")))

    def _read(self) -> Call:
        """One of the calls that take a file of a commit."""
        chance = self._chance
        name = chance.choice(("InspectFile", "ListFile", "WalkFile", "GetFile", "GetFileTAR"))
        path = chance.choice(GLOBS) if name.startswith("Get") and chance.random() < 0.4 else self._path()
        arguments: dict[str, Any] = {"repo": self._repo(), "commit": self._reference(), "path": path}
        if name in ("ListFile", "WalkFile") and chance.random() < 0.3:
            arguments |= {"number": chance.choice((0, 1, 2)), "reverse": chance.random() < 0.5}
            if chance.random() < 0.5:
                arguments["marker"] = self._path()
        if name == "GetFile" and chance.random() < 0.2:
            arguments["offset"] = chance.choice((1, 2, 5000))
        return self._call(name, **arguments)

    def _glob(self) -> Call:
        return self._call("GlobFile", repo=self._repo(), commit=self._reference(), pattern=self._chance.choice(GLOBS))

    def _diff(self) -> Call:
        old = self._chance.random() < 0.5
        arguments = {"old_repo": self._repo(), "old_commit": self._reference(), "old_path": self._path()} if old else {}
        return self._call("DiffFile", repo=self._repo(), commit=self._reference(), path=self._path(), **arguments)

    def _find(self) -> Call:
        return self._call("FindCommits", repo=self._repo(), commit=self._reference(), path=self._path(), limit=self._chance.choice((0, 1)))

    def _file_set(self) -> Call:
        return self._call("AddFileSet", repo=self._repo(), commit=self._reference(), edits=self._write().arguments["edits"])


_KINDS: list[tuple[Callable[[_Maker], Call], int]] = [
    (_Maker._write, 22),
    (_Maker._start, 9),
    (_Maker._finish, 9),
    (_Maker._create_branch, 8),
    (_Maker._glob, 6),
    (_Maker._read, 14),
    (_Maker._drop_set, 3),
    (_Maker._squash_set, 3),
    (_Maker._drop_one, 3),
    (_Maker._inspect_commit, 4),
    (_Maker._list_commit, 4),
    (_Maker._diff, 4),
    (_Maker._delete_branch, 2),
    (_Maker._create_repo, 2),
    (_Maker._delete_repo, 1),
    (_Maker._clear, 1),
    (_Maker._inspect_set, 2),
    (_Maker._inspect_branch, 2),
    (_Maker._list_branch, 1),
    (_Maker._inspect_repo, 1),
    (_Maker._list_repo, 1),
    (_Maker._find, 1),
    (_Maker._file_set, 1),
]
