"""The glob language: examples from its definition, and properties."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minipachd.pfs import FileEntry, FileTree, Glob, GlobError
from minipachd.pfs.filetree import encode_entry
from minipachd.pfs.types import FileKind
from minipachd.storage import Database, NodeStore, Tree

NAMES = st.text("ab1.-", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
PATTERNS = st.lists(
    st.sampled_from([*"ab1.-/*?", "**", "[ab]", "[!a]", "[^/]", "[/a]", "{a,b}", "(a|b)", "@(a)", "+(b)", "!(a)", "?(1)", "*(ab)"]),
    max_size=6,
).map("".join)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("/", ["/"], ["/a"]),
        ("", ["/"], ["/a"]),
        ("/*", ["/a", "/a/", "/a.b"], ["/", "/a/b"]),
        ("/**", ["/a", "/a/b", "/a/b/"], ["/"]),
        ("a/*", ["/a/b"], ["/a", "/a/b/c"]),
        ("/a/*/", ["/a/b/"], ["/a/b/c"]),
        ("/?", ["/a"], ["/ab", "/"]),
        ("/[a-c]x", ["/ax", "/cx"], ["/dx"]),
        ("/[!a-c]x", ["/dx"], ["/ax", "//x"]),
        ("/[^a]", ["/b"], ["/a"]),
        ("/[^/]*/b", ["/a/b"], ["/b", "/a/c/b"]),
        ("/[[:digit:]]", ["/7"], ["/x"]),
        ("/[]]", ["/]"], ["/["]),
        ("/{a,b*}.c", ["/a.c", "/bb.c"], ["/c.c"]),
        ("/(a|b)", ["/a", "/b"], ["/ab"]),
        ("/@(a|b)c", ["/ac"], ["/c"]),
        ("/?(a|b)c", ["/c", "/ac"], ["/aac"]),
        ("/*(ab)c", ["/c", "/ababc"], ["/aabc"]),
        ("/+(ab)c", ["/abc", "/ababc"], ["/c"]),
        ("/!(a|b)", ["/c", "/ab"], ["/a", "/b"]),
        ("/!(a|b).txt", ["/c.txt", "/ab.txt"], ["/a.txt"]),
        ("/!(a)/x", ["/b/x"], ["/a/x"]),
        (r"/\*", ["/*"], ["/a"]),
        ("/a,b|c", ["/a,b|c"], ["/a"]),
        ("/a.c", ["/a.c"], ["/abc"]),
        ("/(*)_(*).(jpg|png)", ["/dev1_12.jpg"], ["/dev1.jpg"]),
    ],
)
def test_patterns_match_whole_paths(pattern, matching, other):
    glob = Glob(pattern)
    assert [path for path in matching if not glob.matches(path)] == []
    assert [path for path in other if glob.matches(path)] == []


@pytest.mark.parametrize("pattern", ["/[", "/[a", "/[z-a]", "/" + "x" * 5000, "/" + "!(a)" * 20])
def test_malformed_patterns_are_named(pattern):
    with pytest.raises(GlobError, match="glob pattern"):
        Glob(pattern)


def test_groups_fill_templates():
    glob = Glob("/(*)_(*).(jpg|png)")
    assert glob.expand("/dev1_99.jpg", "$1-${2}-$3-$0-$$-$9-$x") == "dev1-99-jpg-/dev1_99.jpg-$--"
    assert Glob("/!(a)/(*)").expand("/b/c/", "$1.$2") == "b.c"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_the_declared_error(text):
    try:
        glob = Glob(text)
    except GlobError:
        return
    glob.matches("/a/b")
    glob.expand("/a/b", text)


@settings(max_examples=300, deadline=None)
@given(PATHS)
def test_a_path_matches_itself_escaped_and_itself_starred(path):
    assert Glob(re.sub(r"([^/])", r"\\\1", path)).matches(path)
    starred = Glob("/" + "/".join("*" for _ in path.split("/")[1:]))
    assert starred.matches(path)
    assert starred.depth == path.count("/")
    assert path.startswith(Glob(path[: len(path) // 2 + 1] + "**").prefix)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    database = Database(tmp_path_factory.mktemp("globs") / "metadata.db")
    yield database, NodeStore(database)
    database.close()


def build(nodes, files):
    database, store = nodes
    with database.transaction():
        tree = Tree(store).edit(encode_entry(FileEntry(path, "default", len(path), b"")) for path in files)
    return FileTree(tree)


def test_a_glob_below_a_directory_does_not_read_those_whose_names_merely_begin_like_it(nodes):
    crowd = [f"/dev1{digit}/{number:04}.json" for digit in range(10) for number in range(300)]
    tree = build(nodes, ["/dev1/0001.json", "/dev1/0002.json", *crowd])
    fresh = NodeStore(nodes[0])
    found = FileTree(Tree(fresh, tree.root)).glob("/dev1/0001.*")
    assert [info.path for info in found] == ["/dev1/0001.json"]
    assert fresh.load.cache_info().misses <= 10  # of some hundred nodes


def test_a_pattern_narrowed_to_a_key_begins_with_all_that_the_key_says():
    narrowed = Glob("/(*)/(*).*").narrowed("$1/$2", "cam-1,@home^2/16|00")
    assert narrowed is not None
    assert Glob(narrowed).prefix.startswith("/cam-1,")
    assert Glob(narrowed).matches("/cam-1,@home^2/16|00.json")
    assert not Glob(narrowed).matches("/cam-1,@home^2/16.json")
    plain = Glob("/(*)/(*).*").narrowed("$1/$2", "cam-1/1600")
    assert plain is not None
    assert Glob(plain).prefix == "/cam-1/1600."


def without_collisions(files):
    return {path for path in files if not any(other.startswith(path + "/") for other in files)}


def everything(files):
    """What a walk over the root must show: every file and every directory, in the order of the paths."""
    directories = {path[: match.start() + 1] for path in files for match in re.finditer("/", path)}
    return sorted(directories | set(files))


@example(files={"/ab", "/d/x1"}, pattern="/[^/]*")
@settings(max_examples=150, deadline=None)
@given(files=st.sets(PATHS, max_size=25).map(without_collisions), pattern=PATTERNS)
def test_listings_and_globs_give_what_a_walk_over_a_set_would(nodes, files, pattern):
    tree = build(nodes, files)
    shown = everything(files)
    assert [info.path for info in tree.walk("/")] == shown
    glob = Glob(pattern)
    assert [info.path for info in tree.glob(glob)] == [path for path in shown if glob.matches(path)]
    for directory in [path for path in shown if path.endswith("/")]:
        below = [path for path in files if path.startswith(directory)]
        info = tree.info(directory)
        assert (info.kind, info.size) == (FileKind.DIR, sum(map(len, below)))
        children = [path for path in shown if path != directory and re.fullmatch(re.escape(directory) + "[^/]*/?", path)]
        assert [info.path for info in tree.list(directory)] == children
        assert [info.path for info in tree.list(directory, reverse=True)] == children[::-1]
        for at, marker in enumerate(children):
            assert [info.path for info in tree.list(directory, after=marker)] == children[at + 1 :]
            assert [info.path for info in tree.list(directory, after=marker, reverse=True)] == children[:at][::-1]
    for at, marker in enumerate(shown):
        assert [info.path for info in tree.walk("/", after=marker)] == shown[at + 1 :]


@settings(max_examples=100, deadline=None)
@given(first=st.sets(PATHS, max_size=15), second=st.sets(PATHS, max_size=15))
def test_directories_with_equal_content_have_equal_hashes_and_no_others(nodes, first, second):
    one, two = build(nodes, without_collisions(first)), build(nodes, without_collisions(second))
    for name in "ab":
        a, b = one.info("/" + name), two.info("/" + name)
        same = [e.path for e in one.entries("/" + name)] == [e.path for e in two.entries("/" + name)]
        assert same == ((a and a.hash) == (b and b.hash))
