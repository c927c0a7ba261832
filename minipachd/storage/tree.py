"""A persistent sorted map from bytes to bytes whose versions share what they have in common.

A node ends after a key whose hash says so, never after a number of entries. The shape of a tree is therefore a function of its content
alone: the same entries give the same root however they came in, two versions differ only in the nodes on the way to what changed, and
:meth:`Tree.diff` skips every node that both have. An inner entry carries the count, the weight and the digest of what lies below it, so
that these are known for any range of keys at the price of two descents.
"""

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Self, TypeVar
from weakref import WeakSet

import msgspec

from minipachd.errors import CorruptError
from minipachd.storage.database import Database, Schema

T = TypeVar("T")
_BITS_PER_LEVEL = 5
_CACHED_NODES = 4096
_MODULUS = 1 << 256

EMPTY_ROOT = b""
"""The root of the tree without entries; it has no node."""

SCHEMA = Schema("nodes", ("CREATE TABLE nodes (id BLOB PRIMARY KEY, data BLOB NOT NULL);",))


# Nodes keep very many of these: without "gc" the collector of cycles need not look at them, again and again.
class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One key and what it maps to; ``weight`` is a number that ranges can be summed over (bytes of a file, 1 for a failed datum)."""

    key: bytes
    value: bytes
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What is known of a range of keys. ``digest`` is the sum of its entries' hashes: equal ranges have equal digests."""

    count: int = 0
    weight: int = 0
    digest: int = 0

    def __add__(self, other: "Aggregate") -> "Aggregate":
        return Aggregate(self.count + other.count, self.weight + other.weight, (self.digest + other.digest) % _MODULUS)

    @property
    def hash(self) -> bytes:
        """The digest as 32 bytes."""
        return self.digest.to_bytes(32, "big")


class _Child(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of an inner node: the last key below it, the node, and the number and sums of its entries; few are ever added up."""

    key: bytes
    id: bytes
    count: int
    weight: int
    digest: bytes

    @classmethod
    def over(cls, key: bytes, node_id: bytes, sums: Aggregate) -> Self:
        return cls(key, node_id, sums.count, sums.weight, sums.hash)

    @property
    def sums(self) -> Aggregate:
        return Aggregate(self.count, self.weight, int.from_bytes(self.digest, "big"))


class _Node:
    """A decoded node. ``keys`` are those of ``entries``; level 0 holds :class:`Entry`, higher ones :class:`_Child`."""

    __slots__ = ("children", "entries", "keys", "level")

    def __init__(self, level: int, entries: list[Entry], children: list[_Child]) -> None:
        self.level, self.entries, self.children = level, entries, children
        self.keys = [entry.key for entry in entries] if level == 0 else [child.key for child in children]


_NODE = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw])  # level, rows
_ENTRIES = msgspec.msgpack.Decoder(list[Entry])
_CHILDREN = msgspec.msgpack.Decoder(list[_Child])


def _decoded(data: bytes) -> _Node:
    level, rows = _NODE.decode(data)
    return _Node(0, _ENTRIES.decode(rows), []) if level == 0 else _Node(level, [], _CHILDREN.decode(rows))


class NodeStore:
    """The nodes of every tree, by their hash. Shared by all threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.install(SCHEMA)
        self.load = lru_cache(maxsize=_CACHED_NODES)(self._load)
        self._held: WeakSet[Tree] = WeakSet()
        self._held_lock = threading.Lock()

    def save(self, nodes: dict[bytes, bytes]) -> None:
        """Keep encoded nodes; part of the calling thread's write transaction."""
        with self._database.reading() as connection:
            connection.executemany("INSERT OR IGNORE INTO nodes VALUES (?, ?)", nodes.items())

    def hold(self, tree: "Tree") -> None:
        """Keep what a tree reaches from being collected for as long as the object lives."""
        with self._held_lock:
            self._held.add(tree)

    def held_roots(self) -> set[bytes]:
        """The roots of all trees that somebody holds."""
        with self._held_lock:
            return {tree.root for tree in self._held}

    def all_ids(self) -> Iterator[bytes]:
        """Every node."""
        with self._database.reading() as connection:
            for (node_id,) in connection.execute("SELECT id FROM nodes"):
                yield node_id

    def reach(self, roots: Iterable[bytes], seen: set[bytes], *, missing_ok: bool = False) -> Iterator[list[Entry]]:
        """Visit every node below some roots that is not in ``seen`` yet, and add it there.

        :param missing_ok: Pass over nodes that are not there: those of a transaction that was undone, or that is not committed yet. None
            that was visited on the way to them is added then: a later visit must not stop there.
        :return: The entries, a node's at a time.
        :raises CorruptError: A node is missing or damaged.
        """
        pending = [root for root in roots if root]
        added: set[bytes] = set()
        complete = True
        while pending:
            node_id = pending.pop()
            if node_id in seen:
                continue
            seen.add(node_id)
            if missing_ok:
                added.add(node_id)
            try:
                node = self._load(node_id)
            except CorruptError:
                if missing_ok:
                    complete = False
                    continue
                raise
            if node.level == 0:
                yield node.entries
            else:
                pending.extend(child.id for child in node.children)
        if not complete:
            seen -= added

    def fold(self, root: bytes, known: dict[bytes, T], leaf: Callable[[list[Entry]], T], join: Callable[[list[T]], T]) -> T:
        """A value for the tree under a root, made from those of its nodes.

        :param known: By node; trees that share nodes share the work.
        :param leaf: Of the entries of a lowest node. :param join: Of the values of the nodes below one.
        :raises CorruptError: A node is missing or damaged.
        """
        if root not in known:
            node = self._load(root)
            if node.level == 0:
                known[root] = leaf(node.entries)
            else:
                known[root] = join([self.fold(child.id, known, leaf, join) for child in node.children])
        return known[root]

    def forget(self, node_ids: Iterable[bytes]) -> None:
        """Remove nodes; part of the calling thread's write transaction. Only a garbage collection knows which."""
        with self._database.reading() as connection:
            connection.executemany("DELETE FROM nodes WHERE id = ?", ((node_id,) for node_id in node_ids))
        self.load.cache_clear()

    def _load(self, node_id: bytes) -> _Node:
        with self._database.reading() as connection:
            row = connection.execute("SELECT data FROM nodes WHERE id = ?", (node_id,)).fetchone()
        if row is None or _node_id(row[0]) != node_id:
            raise CorruptError(
                f"tree node {node_id.hex()} is {'missing' if row is None else 'damaged'} in the database; restore it from a backup"
            )
        return _decoded(row[0])


class Tree:
    """One immutable version. Reading works from any thread; :meth:`edit` needs the thread's write transaction.

    :param root: As :attr:`root` of an earlier tree gave it.
    :param bits: Nodes that an edit makes have 2 to the power of that many entries on average. Trees with long values under keys in no
        order want small nodes: each change writes a whole one. Equal content has equal nodes only where this was the same, too.
    """

    __slots__ = ("__weakref__", "_bits", "_nodes", "root")

    def __init__(self, nodes: NodeStore, root: bytes = EMPTY_ROOT, *, bits: int = _BITS_PER_LEVEL) -> None:
        self._nodes, self.root, self._bits = nodes, root, bits
        if root:
            nodes.hold(self)

    def get(self, key: bytes) -> Entry | None:
        """The entry of a key."""
        node_id = self.root
        while node_id:
            node = self._nodes.load(node_id)
            at = bisect_left(node.keys, key)
            if at == len(node.keys):
                return None
            if node.level == 0:
                return node.entries[at] if node.keys[at] == key else None
            node_id = node.children[at].id
        return None

    def scan(self, start: bytes | None = None, stop: bytes | None = None, *, reverse: bool = False) -> Iterator[Entry]:
        """Entries with ``start <= key < stop`` in key order; None means without bound."""
        if self.root:
            yield from self._scan(self.root, start, stop, reverse)

    def first(self, start: bytes | None = None, stop: bytes | None = None) -> Entry | None:
        """The first entry with ``start <= key < stop``."""
        return next(self.scan(start, stop), None)

    def aggregate(self, start: bytes | None = None, stop: bytes | None = None) -> Aggregate:
        """Count, weight and digest of the entries with ``start <= key < stop``."""
        return self._aggregate(self.root, None, start, stop) if self.root else Aggregate()

    def edit(self, puts: Iterable[Entry] = (), deletes: Iterable[bytes] = ()) -> "Tree":
        """A new version: without the deleted keys (missing ones are ignored), then with the put entries (the last of a key counts)."""
        changes: dict[bytes, Entry | None] = dict.fromkeys(deletes)
        changes.update((entry.key, entry) for entry in puts)
        if not changes:
            return self
        keys = sorted(changes)
        builder = _Builder(self._bits)
        if self.root:
            self._rewrite(builder, self.root, [(key, changes[key]) for key in keys], keys)
        else:
            for key in keys:
                entry = changes[key]
                if entry is not None:
                    builder.add_entry(entry)
        root = builder.finish(self._nodes)
        self._nodes.save(builder.encoded)
        return Tree(self._nodes, root, bits=self._bits)

    def diff(self, old: "Tree") -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
        """What changed from ``old`` to this version: ``(key, old entry, new entry)`` in key order. Costs about the number of changes."""
        before, after = _Cursor(self._nodes, old.root), _Cursor(self._nodes, self.root)
        while not (before.done and after.done):
            if before.done or after.done:
                for key, entry in (before if after.done else after).entries():
                    yield (key, entry, None) if after.done else (key, None, entry)
                return
            if before.skip_shared(after):
                continue
            if before.level or after.level:
                # Open the taller front, or both when they stand at the same height: shared nodes then meet at their own level.
                tallest = max(before.level, after.level)
                for cursor in (before, after):
                    if cursor.level == tallest:
                        cursor.open()
                continue
            old_entry, new_entry = before.entry, after.entry
            if old_entry.key == new_entry.key:
                before.advance()
                after.advance()
                if old_entry != new_entry:
                    yield old_entry.key, old_entry, new_entry
            elif old_entry.key < new_entry.key:
                before.advance()
                yield old_entry.key, old_entry, None
            else:
                after.advance()
                yield new_entry.key, None, new_entry

    def _scan(self, node_id: bytes, start: bytes | None, stop: bytes | None, reverse: bool) -> Iterator[Entry]:
        node = self._nodes.load(node_id)
        low = 0 if start is None else bisect_left(node.keys, start)
        if node.level == 0:
            high = len(node.keys) if stop is None else bisect_left(node.keys, stop)
            yield from reversed(node.entries[low:high]) if reverse else node.entries[low:high]
            return
        high = len(node.keys) if stop is None else bisect_left(node.keys, stop) + 1  # the child that would hold stop may hold smaller keys
        children = node.children[low:high]
        for child in reversed(children) if reverse else children:
            yield from self._scan(child.id, start, stop, reverse)

    def _aggregate(self, node_id: bytes, above: bytes | None, start: bytes | None, stop: bytes | None) -> Aggregate:
        """:param above: Every key of the node is greater than this, when known."""
        node = self._nodes.load(node_id)
        low = 0 if start is None else bisect_left(node.keys, start)
        if node.level == 0:
            high = len(node.keys) if stop is None else bisect_left(node.keys, stop)
            return _sum_entries(node.entries[low:high])
        total = Aggregate()
        for at in range(low, len(node.keys)):
            child = node.children[at]
            lower = node.keys[at - 1] if at else above
            if start is not None and (lower is None or lower < start):
                total += self._aggregate(child.id, lower, start, stop)
            elif stop is None or child.key < stop:
                total += child.sums
            else:
                total += self._aggregate(child.id, lower, None, stop)
            if stop is not None and child.key >= stop:
                break
        return total

    def _rewrite(self, builder: "_Builder", node_id: bytes, changes: list[tuple[bytes, Entry | None]], keys: list[bytes]) -> None:
        """Feed a subtree with its changes to the builder, whole where nothing changed."""
        node = self._nodes.load(node_id)
        if node.level == 0:
            for entry in _merged(node.entries, changes):
                builder.add_entry(entry)
            return
        low = 0
        for at, child in enumerate(node.children):
            high = len(keys) if at == len(node.children) - 1 else bisect_right(keys, child.key, low)
            if low == high and builder.can_take(child, node.level):
                builder.add_child(child, node.level)
            else:
                self._rewrite(builder, child.id, changes[low:high], keys[low:high])
            low = high


class _Builder:
    """Takes entries and whole subtrees in key order and cuts nodes where the keys say."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self.encoded: dict[bytes, bytes] = {}
        self._entries: list[Entry] = []
        self._levels: list[list[_Child]] = [[]]  # index n: children of the unfinished node of level n; 0 is not used

    def can_take(self, child: _Child, level: int) -> bool:
        """Whether a subtree can go into the node of ``level`` as it is: nothing smaller is unfinished, and it ends where a node ends."""
        return not self._entries and not any(self._levels[1:level]) and _height(child.key, self._bits) >= level

    def add_entry(self, entry: Entry) -> None:
        self._entries.append(entry)
        if _height(entry.key, self._bits) > 0:
            self._cut_leaf()

    def add_child(self, child: _Child, level: int) -> None:
        while len(self._levels) <= level:
            self._levels.append([])
        self._levels[level].append(child)
        if _height(child.key, self._bits) > level:
            self._cut(level)

    def finish(self, nodes: NodeStore) -> bytes:
        """End the unfinished nodes and return the root: the lowest node that has everything below it."""
        if self._entries:
            self._cut_leaf()
        level = 1
        while level < len(self._levels):
            pending = self._levels[level]
            top = not any(self._levels[level + 1 :])
            if top and len(pending) == 1:
                return self._lowest(pending[0].id, nodes)
            if pending:
                self._cut(level)
            level += 1
        return EMPTY_ROOT

    def _lowest(self, node_id: bytes, nodes: NodeStore) -> bytes:
        """Leave out roots with a single child; they are not kept unless they were there before."""
        while True:
            data = self.encoded.get(node_id)
            node = _decoded(data) if data is not None else nodes.load(node_id)
            if node.level == 0 or len(node.children) > 1:
                return node_id
            self.encoded.pop(node_id, None)
            node_id = node.children[0].id

    def _cut_leaf(self) -> None:
        entries, self._entries = self._entries, []
        node = self._encode(0, entries)
        self.add_child(_Child.over(entries[-1].key, node, _sum_entries(entries)), 1)

    def _cut(self, level: int) -> None:
        children, self._levels[level] = self._levels[level], []
        sums = Aggregate(
            sum(child.count for child in children),
            sum(child.weight for child in children),
            sum(int.from_bytes(child.digest, "big") for child in children) % _MODULUS,
        )
        self.add_child(_Child.over(children[-1].key, self._encode(level, children), sums), level + 1)

    def _encode(self, level: int, rows: object) -> bytes:
        data = msgspec.msgpack.encode((level, rows))
        node = _node_id(data)
        self.encoded[node] = data
        return node


class _Cursor:
    """What is left of a tree, as a stack of subtrees and entries with the smallest keys on top."""

    def __init__(self, nodes: NodeStore, root: bytes) -> None:
        self._nodes = nodes
        self.stack: list[tuple[int, bytes, Entry | None]] = []  # (level + 1 of a node, its id, None) or (0, b"", entry)
        if root:
            self.stack.append((nodes.load(root).level + 1, root, None))

    @property
    def done(self) -> bool:
        return not self.stack

    @property
    def level(self) -> int:
        """0 when an entry is on top, else one more than the level of the node that is."""
        return self.stack[-1][0]

    @property
    def entry(self) -> Entry:
        entry = self.stack[-1][2]
        assert entry is not None  # noqa: S101 - callers looked at level
        return entry

    def advance(self) -> None:
        self.stack.pop()

    def skip_shared(self, other: "_Cursor") -> bool:
        """Drop the node on top of both, if it is the same one."""
        if self.level and self.stack[-1][:2] == other.stack[-1][:2]:
            self.stack.pop()
            other.stack.pop()
            return True
        return False

    def open(self) -> None:
        """Replace the node on top by what is in it."""
        level, node_id, _ = self.stack.pop()
        node = self._nodes.load(node_id)
        if level == 1:
            self.stack.extend((0, b"", entry) for entry in reversed(node.entries))
        else:
            self.stack.extend((level - 1, child.id, None) for child in reversed(node.children))

    def entries(self) -> Iterator[tuple[bytes, Entry]]:
        """All that is left."""
        while self.stack:
            if self.level:
                self.open()
            else:
                yield self.entry.key, self.entry
                self.advance()


def _height(key: bytes, bits: int) -> int:
    """Up to which level a node ends after this key: 0 for most keys, 1 for one in 2^bits, 2 for one in 4^bits."""
    number = int.from_bytes(blake2b(key, digest_size=8).digest(), "big")
    return ((number & -number).bit_length() - 1) // bits if number else 64 // bits


def _node_id(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def _sum_entries(entries: list[Entry]) -> Aggregate:
    digest = weights = 0
    for entry in entries:
        head = b"%d %d " % (len(entry.key), entry.weight)
        digest += int.from_bytes(blake2b(head + entry.key + entry.value, digest_size=32).digest(), "big")
        weights += entry.weight
    return Aggregate(len(entries), weights, digest % _MODULUS)


def _merged(entries: list[Entry], changes: list[tuple[bytes, Entry | None]]) -> list[Entry]:
    if not changes:
        return entries
    merged = {entry.key: entry for entry in entries}
    for key, entry in changes:
        if entry is None:
            merged.pop(key, None)
        else:
            merged[key] = entry
    return [merged[key] for key in sorted(merged)]
