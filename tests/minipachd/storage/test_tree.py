"""The tree against a plain dict: content, shape, differences, sums."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipachd.errors import CorruptError
from minipachd.storage import EMPTY_ROOT, Database, Entry, NodeStore, Tree

# Few distinct keys, so that versions overlap; long runs of them, so that trees have several levels.
KEYS = st.one_of(st.integers(0, 2000).map(lambda n: b"/dir/%04d" % n), st.binary(max_size=3))
CONTENT = st.dictionaries(KEYS, st.tuples(st.binary(max_size=4), st.integers(0, 1 << 40)), max_size=300)
PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def database(tmp_path: Path):
    database = Database(tmp_path / "metadata.db")
    yield database
    database.close()


@pytest.fixture
def nodes(database: Database) -> NodeStore:
    return NodeStore(database)


def entries(content: dict) -> list[Entry]:
    return [Entry(key, value, weight) for key, (value, weight) in content.items()]


def build(database: Database, nodes: NodeStore, content: dict) -> Tree:
    with database.transaction():
        return Tree(nodes).edit(entries(content))


def as_dict(tree: Tree) -> dict:
    return {entry.key: (entry.value, entry.weight) for entry in tree.scan()}


@PROPERTY
@given(before=CONTENT, after=CONTENT, deleted=st.sets(KEYS, max_size=100))
def test_edits_give_what_a_dict_would(database, nodes, before, after, deleted):
    tree = build(database, nodes, before)
    deleted |= set(list(before)[::3])
    with database.transaction():
        edited = tree.edit(entries(after), deleted)
    expected = {key: value for key, value in before.items() if key not in deleted} | after

    assert as_dict(edited) == expected
    assert [entry.key for entry in edited.scan()] == sorted(expected)
    assert as_dict(tree) == before, "an edit must leave the old version alone"


@PROPERTY
@given(before=CONTENT, after=CONTENT)
def test_the_root_depends_on_the_content_alone(database, nodes, before, after):
    with database.transaction():
        detour = Tree(nodes).edit(entries(before)).edit(entries(after), list(before))
        one_by_one = Tree(nodes)
        for entry in reversed(entries(after)):
            one_by_one = one_by_one.edit([entry])
    assert detour.root == one_by_one.root == build(database, nodes, after).root


@PROPERTY
@given(before=CONTENT, after=CONTENT)
def test_diff_is_the_difference(database, nodes, before, after):
    after = before | after if len(after) % 2 else after  # often a superset, as commits are
    old, new = build(database, nodes, before), build(database, nodes, after)
    changed = {key: (before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)}

    found = list(new.diff(old))

    assert [key for key, _, _ in found] == sorted(changed)
    assert {key: ((a.value, a.weight) if a else None, (b.value, b.weight) if b else None) for key, a, b in found} == changed


@PROPERTY
@given(content=CONTENT, bounds=st.tuples(st.none() | KEYS, st.none() | KEYS), reverse=st.booleans())
def test_ranges_scan_and_sum_in_key_order(database, nodes, content, bounds, reverse):
    start, stop = bounds
    tree = build(database, nodes, content)
    inside = sorted(key for key in content if (start is None or key >= start) and (stop is None or key < stop))

    assert [entry.key for entry in tree.scan(start, stop, reverse=reverse)] == (inside[::-1] if reverse else inside)
    sums = tree.aggregate(start, stop)
    assert (sums.count, sums.weight) == (len(inside), sum(content[key][1] for key in inside))
    alone = build(database, nodes, {key: content[key] for key in inside})
    assert sums.hash == alone.aggregate().hash


@PROPERTY
@given(content=CONTENT, key=KEYS)
def test_get_finds_what_is_there(database, nodes, content, key):
    tree = build(database, nodes, content)
    for wanted in [key, *list(content)[:5]]:
        entry = tree.get(wanted)
        assert (entry and (entry.value, entry.weight)) == content.get(wanted)


def test_a_small_change_to_a_large_tree_costs_little(database, nodes):
    tree = build(database, nodes, {b"%06d" % n: (b"x" * 32, n) for n in range(20_000)})
    with database.reading() as connection:
        before = connection.execute("SELECT count(*) FROM nodes").fetchone()[0]
        with database.transaction():
            changed = tree.edit([Entry(b"010000", b"y", 1)])
        assert connection.execute("SELECT count(*) FROM nodes").fetchone()[0] - before <= 5
    nodes.load.cache_clear()
    assert [key for key, _, _ in changed.diff(tree)] == [b"010000"]
    assert nodes.load.cache_info().misses <= 12, "the difference must skip what both versions share"


@PROPERTY
@given(before=CONTENT, after=CONTENT, bits=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_a_tree_of_large_nodes_goes_on_as_one_of_small_ones(database, nodes, before, after, bits):
    first, second = bits
    with database.transaction():
        old = Tree(nodes, bits=first).edit(entries(before))
        new = Tree(nodes, old.root, bits=second).edit(entries(after), list(before)[::3])
    expected = {key: before[key] for at, key in enumerate(before) if at % 3} | after
    changed = sorted(key for key in before | expected if before.get(key) != expected.get(key))

    assert as_dict(new) == expected
    assert all(new.get(key) is not None for key in expected)
    assert [key for key, _, _ in new.diff(old)] == changed
    sums = build(database, nodes, expected).aggregate()
    assert new.aggregate() == sums  # whatever the shape
    with database.transaction():
        assert Tree(nodes, new.root, bits=second).edit(deletes=expected).root == EMPTY_ROOT


def test_a_change_among_long_values_writes_less_with_small_nodes(database, nodes):
    content = {b"%064x" % (n * 0x9E3779B97F4A7C15 % 2**64): (b"x" * 500, 0) for n in range(5_000)}

    def written(bits: int) -> int:
        with database.transaction(), database.reading() as connection:
            tree = Tree(nodes, bits=bits).edit(entries(content))
            size = "SELECT sum(length(data)) FROM nodes"
            before = connection.execute(size).fetchone()[0]
            tree.edit([Entry(key, b"y", 0) for key in list(content)[::100]])
            return connection.execute(size).fetchone()[0] - before

    assert written(3) < written(5) / 2


def test_emptying_a_tree_gives_the_empty_root(database, nodes):
    content = {b"%d" % n: (b"", 0) for n in range(200)}
    tree = build(database, nodes, content)
    with database.transaction():
        assert tree.edit(deletes=content).root == EMPTY_ROOT


def test_a_damaged_node_is_refused(database, nodes):
    tree = build(database, nodes, {b"a": (b"1", 1)})
    with database.transaction() as connection:
        connection.execute("UPDATE nodes SET data = CAST(data || x'00' AS BLOB)")
    with pytest.raises(CorruptError, match="damaged"):
        tree.get(b"a")


def test_folding_many_versions_looks_at_each_node_once(database, nodes):
    known, leaves = {}, []

    def leaf(entries):
        leaves.append(len(entries))
        return len(entries)

    with database.transaction():
        tree = Tree(nodes).edit(Entry(b"%06d" % number, b"x") for number in range(2000))
        first = nodes.fold(tree.root, known, leaf, sum)
        counted = len(leaves)
        for number in range(50):
            tree = tree.edit([Entry(b"%06d-" % (number * 40), b"y")])
            assert nodes.fold(tree.root, known, leaf, sum) == first + number + 1
    assert len(leaves) - counted <= 2 * 50  # of some sixty in each version
