"""Datums from inputs: which files a job reads, and how they are combined (cross, union, join, group)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeVar

from minipachd.pfs import CommitSetId, FileInfo, FileTree
from minipachd.pfs.globs import Glob, compile_glob
from minipachd.pfs.watch import Watch
from minipachd.pps.datum import Datum, DatumInput, make_datum
from minipachd.pps.spec import CrossInput, DatumId, GroupInput, Input, JoinInput, LeafInput, PfsInput, UnionInput, input_branch

T = TypeVar("T")
Parts = tuple[DatumInput, ...]


@dataclass(frozen=True, slots=True)
class InputCommit:
    """What a leaf input reads: the resolved commit and its files."""

    id: CommitSetId
    files: FileTree


InputCommits = Callable[[LeafInput], InputCommit]


def datums(node: Input, commits: InputCommits, watch: Watch) -> Iterator[Datum]:
    """Every datum of ``node``, each id once, in a stable order.

    :raises TooManyDatumsError: There are more than are planned at most; as a rule before any is built.
    :raises NotWantedError: See :class:`Watch`.
    """
    seen: set[DatumId] = set()
    for parts in combine(node, commits, watch):
        watch.look()
        datum = make_datum(parts)
        if datum.id not in seen:
            seen.add(datum.id)
            watch.count(len(seen), at_least=True)
            yield datum


def combine(node: Input, commits: InputCommits, watch: Watch) -> Iterator[Parts]:
    """The inputs of every datum, as they are combined; a union may give the same ones twice.

    :raises TooManyDatumsError: See :func:`datums`. :raises NotWantedError: See there.
    """
    match node:
        case CrossInput(children):
            yield from _cross([all_parts(child, commits, watch) for child in children], watch)
        case UnionInput(children):
            for child in children:
                yield from combine(child, commits, watch)
        case JoinInput(children):
            yield from _join([_all(_single_parts(child, commits, watch), watch) for child in children], watch)
        case GroupInput(children):
            yield from group(_all((part for child in children for part in _single_parts(child, commits, watch)), watch))
        case _:
            commit = commits(node)
            glob = compile_glob(leaf_glob(node))
            for info in commit.files.glob(glob.watched(watch.look)):
                yield (leaf_part(node, glob, commit.id, info),)


def all_parts(node: Input, commits: InputCommits, watch: Watch) -> list[Parts]:
    """What :func:`combine` gives, at once."""
    return _all(combine(node, commits, watch), watch)


def _single_parts(node: Input, commits: InputCommits, watch: Watch) -> Iterator[DatumInput]:
    return (part for parts in combine(node, commits, watch) for part in parts)


def _all(items: Iterable[T], watch: Watch) -> list[T]:
    found: list[T] = []
    for item in items:
        watch.look()
        found.append(item)
        watch.count(len(found), at_least=True)
    return found


def leaf_glob(leaf: LeafInput) -> str:
    """A cron input has one datum per tick."""
    return leaf.glob if isinstance(leaf, PfsInput) else "/*"


def leaf_part(leaf: LeafInput, glob: Glob, commit_id: CommitSetId, info: FileInfo) -> DatumInput:
    """One match of a leaf's glob, with its join and group keys filled in from what the glob captured."""
    join_on = group_by = ""
    outer_join = lazy = empty_files = False
    repo_type = "user"
    if isinstance(leaf, PfsInput):
        join_on, group_by = glob.expand(info.path, leaf.join_on), glob.expand(info.path, leaf.group_by)
        outer_join, lazy, empty_files, repo_type = leaf.outer_join, leaf.lazy, leaf.empty_files, leaf.repo_type
    return DatumInput(
        name=leaf.name,
        project=leaf.project,
        repo=leaf.repo,
        repo_type=repo_type,
        branch=input_branch(leaf),
        commit_id=commit_id,
        path=info.path,
        hash=info.hash,
        size=info.size,
        join_on=join_on,
        group_by=group_by,
        outer_join=outer_join,
        lazy=lazy,
        empty_files=empty_files,
    )


def _cross(children: list[list[Parts]], watch: Watch) -> Iterator[Parts]:
    watch.count(prod(map(len, children)))
    for combination in product(*children):
        yield tuple(part for parts in combination for part in parts)


def _join(children: list[list[DatumInput]], watch: Watch) -> Iterator[Parts]:
    """Per key the cross product of what each child has; incomplete tuples keep only the parts that asked for an outer join."""
    by_key: dict[str, dict[int, list[DatumInput]]] = {}
    for number, parts in enumerate(children):
        for part in parts:
            by_key.setdefault(part.join_on, {}).setdefault(number, []).append(part)
    watch.count(sum(prod(map(len, present.values())) for present in by_key.values()))
    for present in by_key.values():
        for combination in product(*(present[number] for number in sorted(present))):
            complete = len(present) == len(children)
            kept = combination if complete else tuple(part for part in combination if part.outer_join)
            if kept:
                yield kept


def group(parts: Iterable[DatumInput]) -> Iterator[Parts]:
    """One datum for each key."""
    by_key: dict[str, list[DatumInput]] = {}
    for part in parts:
        by_key.setdefault(part.group_by, []).append(part)
    for members in by_key.values():
        yield tuple(members)
