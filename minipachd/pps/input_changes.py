"""What changed between two states of an input, at the price of the changes and not of the datums.

A job with a hundred new files on top of a hundred thousand old ones looks at a hundred: file trees tell their differences, and a datum can
only have come, gone or changed where a file did. A group changes where a file with its key did; who else has that key is looked up, where
the key tells how their paths begin. Other groups, and joins, have no such rule here: they are enumerated.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from minipachd.pfs import FileTree, Glob
from minipachd.pfs.globs import compile_glob
from minipachd.pfs.watch import Watch
from minipachd.pps.datum import DatumInput
from minipachd.pps.inputs import InputCommit, InputCommits, Parts, all_parts, group, leaf_glob, leaf_part
from minipachd.pps.spec import CronInput, CrossInput, GroupInput, Input, LeafInput, PfsInput, UnionInput, input_branch, leaves

_FILES_PER_KEY = 10  # to look up a key's members costs as much as to enumerate so many files


@dataclass(frozen=True, slots=True)
class Changes:
    """A datum whose content changed is in both: as it was, and as it is."""

    removed: list[Parts]
    added: list[Parts]

    @property
    def none(self) -> bool:
        return not self.removed and not self.added


def input_changes(node: Input, old: InputCommits, new: InputCommits, watch: Watch) -> Changes | None:
    """The difference between the datums of two states, or None where only a full enumeration can tell.

    :raises TooManyDatumsError: So many changed that no plan may hold them. :raises NotWantedError: See :class:`Watch`.
    """
    match node:
        case PfsInput() | CronInput():
            return _leaf(node, old(node), new(node), watch)
        case CrossInput(children):
            changes = [input_changes(child, old, new, watch) for child in children]
            known = [change for change in changes if change is not None]
            return _cross(children, known, old, new, watch) if len(known) == len(changes) else None
        case UnionInput(children) if _distinct(children):
            changes = [input_changes(child, old, new, watch) for child in children]
            known = [change for change in changes if change is not None]
            if len(known) < len(changes):
                return None
            return Changes([parts for change in known for parts in change.removed], [parts for change in known for parts in change.added])
        case GroupInput(children):
            return _group(children, old, new, watch)
        case _:
            return None


def _group(children: tuple[Input, ...], old: InputCommits, new: InputCommits, watch: Watch) -> Changes | None:
    leaves = [child for child in children if isinstance(child, PfsInput)]
    if len(leaves) < len(children):
        return None
    changes = [_leaf(leaf, old(leaf), new(leaf), watch) for leaf in leaves]
    keys = {part.group_by for change in changes for parts in (*change.removed, *change.added) for part in parts}
    if len(keys) * _FILES_PER_KEY > sum(new(leaf).files.tree.aggregate().count for leaf in leaves):
        return None
    narrowed: list[tuple[PfsInput, list[Glob]]] = []
    for leaf in leaves:
        glob = compile_glob(leaf.glob)
        patterns = [glob.narrowed(leaf.group_by, key) for key in keys]
        known = [pattern for pattern in patterns if pattern is not None]
        if len(known) < len(patterns):
            return None
        narrowed.append((leaf, list(map(compile_glob, known))))

    def members(commits: InputCommits) -> Iterator[DatumInput]:
        for leaf, globs in narrowed:
            commit, whole = commits(leaf), compile_glob(leaf.glob)
            found = {info.path: info for glob in globs for info in commit.files.glob(glob.watched(watch.look)) if whole.matches(info.path)}
            for _, info in sorted(found.items()):
                part = leaf_part(leaf, whole, commit.id, info)
                if part.group_by in keys:
                    yield part

    return Changes(list(group(members(old))), list(group(members(new))))


def _leaf(leaf: LeafInput, old: InputCommit, new: InputCommit, watch: Watch) -> Changes:
    glob = compile_glob(leaf_glob(leaf))
    removed: list[Parts] = []
    added: list[Parts] = []
    for path in _touched(glob.watched(watch.look), old.files, new.files):
        before, after = old.files.info(path), new.files.info(path)
        if before == after:
            continue
        if before is not None:
            removed.append((leaf_part(leaf, glob, old.id, before),))
        if after is not None:
            added.append((leaf_part(leaf, glob, new.id, after),))
        watch.count(len(added), at_least=True)
    return Changes(removed, added)


def _touched(glob: Glob, old: FileTree, new: FileTree) -> Iterator[str]:
    """Every path that matches and below which, or at which, a file changed."""
    seen: set[str] = set()
    for before, after in new.diff(old):
        entry = after if after is not None else before
        assert entry is not None  # noqa: S101 - a difference has at least one side
        for path in _candidates(glob, entry.path):
            if path not in seen:
                seen.add(path)
                if glob.matches(path):
                    yield path


def _candidates(glob: Glob, path: str) -> Iterator[str]:
    """The file and the directories above it, those alone that are as deep as the glob."""
    if glob.pattern == "/":
        yield "/"
        return
    parts = path.split("/")[1:]
    if glob.depth is None:
        for depth in range(1, len(parts) + 1):
            yield "/" + "/".join(parts[:depth])
    elif glob.depth <= len(parts):
        yield "/" + "/".join(parts[: glob.depth])


def _cross(children: tuple[Input, ...], changes: list[Changes], old: InputCommits, new: InputCommits, watch: Watch) -> Changes:
    if all(change.none for change in changes):
        return Changes([], [])
    before = [_Side(child, old, [*change.removed], watch) for child, change in zip(children, changes, strict=True)]
    after = [_Side(child, new, [*change.added], watch) for child, change in zip(children, changes, strict=True)]
    return Changes(_touching(before, watch), _touching(after, watch))


class _Side:
    """One child of a cross in one of the two states; its datums are enumerated only when a change of another child needs them."""

    def __init__(self, node: Input, commits: Callable[[LeafInput], InputCommit], changed: list[Parts], watch: Watch) -> None:
        self.changed, self._watch = changed, watch
        self._node, self._commits = node, commits
        self._all: list[Parts] | None = None

    def all(self) -> list[Parts]:
        if self._all is None:
            self._all = all_parts(self._node, self._commits, self._watch)
        return self._all

    def kept(self) -> list[Parts]:
        changed = set(self.changed)
        return [parts for parts in self.all() if parts not in changed] if changed else self.all()


def _touching(sides: list[_Side], watch: Watch) -> list[Parts]:
    """Every combination with at least one changed part, once: the first changed part is at a definite place."""
    found: list[Parts] = []
    for at, side in enumerate(sides):
        if not side.changed:
            continue
        lists = [left.kept() for left in sides[:at]] + [side.changed] + [right.all() for right in sides[at + 1 :]]
        watch.count(len(found) + prod(map(len, lists)))
        for combination in product(*lists):
            watch.look()
            found.append(tuple(part for parts in combination for part in parts))
    return found


def _distinct(children: tuple[Input, ...]) -> bool:
    """Whether no datum can come from two children of a union."""
    identities = [frozenset((leaf.name, leaf.repo, input_branch(leaf)) for leaf in leaves(child)) for child in children]
    return len(set().union(*identities)) == sum(map(len, identities))
