"""Files: written, read, listed, copied, deleted, compared."""

import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conformance.lab import Lab, paths, pfs_proto, refused

FILE, DIR = pfs_proto.FileType.FILE, pfs_proto.FileType.DIR
MIB = 1 << 20


def file_message(lab: Lab, repo: str, path: str, ref: str = "master") -> Any:
    return pfs_proto.File(commit=lab.commit_message(repo, ref), path=path)


# Writing


def test_a_put_replaces_and_an_append_adds(lab: Lab) -> None:
    repo = lab.repo()
    head = lab.at(repo)
    lab.client.put_file_bytes(head, "/f", b"one")
    lab.client.put_file_bytes(head, "/f", b"two")
    assert lab.read(repo, "/f") == b"two"
    lab.client.put_file_bytes(head, "/f", b" and three", append=True)
    assert lab.read(repo, "/f") == b"two and three"
    assert lab.client.inspect_file(head, "/f").size_bytes == 13
    assert len(lab.commits(repo)) == 3, "each was a commit"


def test_one_stream_is_applied_in_order(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/dir/a": "a", "/dir/b": "b", "/top": "t"})
    with lab.client.modify_file_client(lab.at(repo)) as changes:
        changes.delete_file("/dir/")
        changes.put_file_from_bytes("/dir/c", b"c")
        changes.put_file_from_bytes("/gone", b"x")
        changes.delete_file("/gone")
    assert paths(lab.client.walk_file(lab.at(repo), "/")) == ["/", "/dir/", "/dir/c", "/top"]


def test_a_stream_with_a_bad_path_leaves_nothing(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/a": ""})
    with refused("UNKNOWN", r"path .* invalid"):
        lab.write(repo, "master", {"/new": "x", "/bad*name": "x"})
    assert paths(lab.client.list_file(lab.at(repo), "/")) == ["/a"]
    assert len(lab.commits(repo)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/a*b", "globbing character"),
        ("/a[b", "globbing character"),
        ("/a(b)", "globbing character"),
        ("/ä", "printable ASCII"),
        ("/a\nb", "printable ASCII"),
        ("/a/../b", "relative file paths"),
        ("/./a", "relative file paths"),
    ],
)
def test_a_path_that_is_not_allowed_is_refused_and_named(lab: Lab, path: str, text: str) -> None:
    repo = lab.repo()
    with refused("UNKNOWN", rf"(?s)path \(.*\) invalid.*{text}"):
        lab.client.put_file_bytes(lab.at(repo), path, b"")


def test_writing_to_a_finished_commit_by_its_id_is_refused(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.put(repo, {"/a": ""})
    with refused("UNKNOWN", r"commit [^ ]+ has already finished"):
        lab.write(repo, commit, {"/b": ""})
    with refused("UNKNOWN", "first message must be a commit|must be specified"):
        request = pfs_proto.ModifyFileRequest(delete_file=pfs_proto.DeleteFile(path="/a"))
        lab.call(lab.stubs.pfs.ModifyFile, iter([request]))


def test_a_file_grows_by_many_writers_at_once(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.start(repo)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: lab.client.put_file_bytes(lab.at(repo, commit), "/f", b"%d," % n, append=True), range(8)))
    lab.finish(repo, commit)
    assert sorted(lab.read(repo, "/f").split(b",")) == [b"", *(b"%d" % n for n in range(8))]


def test_many_small_messages_make_their_files(lab: Lab) -> None:
    repo = lab.repo()
    lines = b"".join(b"line %d\n" % n for n in range(2_000))
    with lab.client.modify_file_client(lab.at(repo)) as changes:
        changes.put_file_from_fileobj("/lines", io.BytesIO(lines))
        for n in range(60):
            changes.put_file_from_bytes(f"/f{n % 3}", b"%d " % n, append=True)
    assert lab.read(repo, "/lines") == lines
    assert lab.read(repo, "/f0") == b"".join(b"%d " % n for n in range(0, 60, 3))


def test_a_one_off_write_goes_into_the_open_commit_of_the_branch(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.start(repo)
    lab.client.put_file_bytes(lab.at(repo), "/a", b"1")
    assert lab.commits(repo) == [commit]
    lab.finish(repo, commit)
    assert lab.files(repo) == {"/a": b"1"}


# Reading


def test_large_files_travel_in_pieces_and_from_an_offset(lab: Lab) -> None:
    repo = lab.repo()
    data = b"".join(bytes([n]) * MIB for n in range(21))
    lab.client.put_file_bytes(lab.at(repo), "/big", data)
    request = pfs_proto.GetFileRequest(file=file_message(lab, repo, "/big"))
    pieces = [message.value for message in lab.call(lab.stubs.pfs.GetFile, request)]
    assert len(pieces) > 1
    assert b"".join(pieces) == data
    request.offset = 3 * MIB + 5
    assert b"".join(message.value for message in lab.call(lab.stubs.pfs.GetFile, request)) == data[3 * MIB + 5 :]


def test_an_empty_file_exists(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/none": ""})
    (info,) = lab.client.list_file(lab.at(repo), "/")
    assert (info.file.path, info.size_bytes, info.file_type) == ("/none", 0, FILE)
    assert lab.read(repo, "/none") == b""


def test_equal_content_has_an_equal_hash(lab: Lab) -> None:
    repo = lab.repo()
    first = lab.put(repo, {"/a": "same", "/b": "same", "/c": "other"})
    lab.put(repo, {"/a": "same"})
    digest = {path: lab.client.inspect_file(lab.at(repo), path).hash for path in ("/a", "/b", "/c")}
    assert digest["/a"] == digest["/b"] == lab.client.inspect_file(lab.at(repo, first), "/a").hash
    assert (digest["/a"] != digest["/c"], len(digest["/a"])) == (True, 32)


def test_lookups_answer_as_clients_expect(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.put(repo, {"/dir/file1": "1", "/file2": "22"})
    at = lab.at(repo, commit)
    found = [lab.client.path_exists(at, path) for path in ("/", "dir/", "dir", "dir/file1", "dir/file1/", "file2", "file1")]
    assert found == [True] * 6 + [False]
    directory = lab.client.inspect_file(at, "/dir")
    assert (directory.file.path, directory.file_type, directory.size_bytes, len(directory.hash)) == ("/dir/", DIR, 1, 32)
    root = lab.client.inspect_file(at, "/")
    assert (root.file.path, root.file_type, root.size_bytes) == ("/", DIR, 3)
    info = lab.client.inspect_file(at, "/file2")
    assert (info.file.commit.id, info.file.datum, info.file_type) == (commit, "default", FILE)
    assert lab.done(repo).finishing == lab.client.inspect_file(at, "/file2").committed
    with refused("NOT_FOUND", r"file /none not found in repo .+ at commit "):
        lab.client.inspect_file(at, "/none")
    with refused("NOT_FOUND"):
        list(lab.client.walk_file(at, "/none"))
    assert list(lab.client.list_file(at, "/none")) == []


def test_a_read_takes_a_glob_that_matches_one_file(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/dir/file1": "1", "/file2": "22"})
    assert lab.read(repo, "/dir/*") == b"1"
    for path, code, text in (
        ("/dir", "UNKNOWN", "cannot get directory"),
        ("/**e*", "UNKNOWN", "matched multiple files"),
        ("/none", "NOT_FOUND", "file /none not found in repo"),
    ):
        with refused(code, text):
            lab.read(repo, path)


TREE = {"/a1.dat": "", "/a2.dat": "", "/b-": "", "/b/1": "", "/b/2": "", "/d/b1.dat": "", "/d/e/c1.dat": "", "/d/e/f/g": ""}


@pytest.fixture(scope="module")
def tree(site: Lab) -> Iterator[tuple[Lab, str]]:
    """A repo with the files of TREE, for tests that only read."""
    repo = site.repo("tree")
    site.put(repo, TREE)
    site.done(repo)
    yield site, repo
    site.sweep(repos=bool(site.target.dialect))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/*.dat", ["/a1.dat", "/a2.dat"]),
        ("*.dat", ["/a1.dat", "/a2.dat"]),
        ("/*", ["/a1.dat", "/a2.dat", "/b-", "/b/", "/d/"]),
        ("/d/*", ["/d/b1.dat", "/d/e/"]),
        ("/d/*/", ["/d/b1.dat", "/d/e/"]),
        ("/**1.dat", ["/a1.dat", "/d/b1.dat", "/d/e/c1.dat"]),
        ("/{a1,d/b1}.dat", ["/a1.dat", "/d/b1.dat"]),
        ("/a?.dat", ["/a1.dat", "/a2.dat"]),
        ("/a[!1].dat", ["/a2.dat"]),
        ("/a[1-9].dat", ["/a1.dat", "/a2.dat"]),
        ("/(a|d)(1|/b1).dat", ["/a1.dat", "/d/b1.dat"]),
        ("/@(a1|a2).dat", ["/a1.dat", "/a2.dat"]),
        ("/!(a1).dat", ["/a2.dat"]),
        ("/d/**", ["/d/b1.dat", "/d/e/", "/d/e/c1.dat", "/d/e/f/", "/d/e/f/g"]),
        ("/d/e/f/g", ["/d/e/f/g"]),
        ("/d", ["/d/"]),
        ("/", ["/"]),
        ("/nothing*", []),
        ("/d/nothing", []),
    ],
)
def test_globs_find_files_and_directories(tree: tuple[Lab, str], pattern: str, expected: list[str]) -> None:
    lab, repo = tree
    assert paths(lab.client.glob_file(lab.at(repo), pattern)) == expected


@pytest.mark.parametrize(
    ("path", "listed"),
    [("/", ["/a1.dat", "/a2.dat", "/b-", "/b/", "/d/"]), ("/d", ["/d/b1.dat", "/d/e/"]), ("d/e/", ["/d/e/c1.dat", "/d/e/f/"]),
     ("/a1.dat", ["/a1.dat"]), ("/none", [])],
)  # fmt: skip
def test_a_directory_is_listed_one_level_deep(tree: tuple[Lab, str], path: str, listed: list[str]) -> None:
    lab, repo = tree
    assert paths(lab.client.list_file(lab.at(repo), path)) == listed


@pytest.mark.parametrize(
    ("path", "walked"),
    [
        ("/d", ["/d/", "/d/b1.dat", "/d/e/", "/d/e/c1.dat", "/d/e/f/", "/d/e/f/g"]),
        ("/b/", ["/b/", "/b/1", "/b/2"]),
        ("/a1.dat", ["/a1.dat"]),
    ],
)
def test_a_walk_goes_below(tree: tuple[Lab, str], path: str, walked: list[str]) -> None:
    lab, repo = tree
    assert paths(lab.client.walk_file(lab.at(repo), path)) == walked


def test_the_root_is_walked_whole(tree: tuple[Lab, str]) -> None:
    lab, repo = tree
    found = paths(lab.client.walk_file(lab.at(repo), "/"))
    assert found == sorted({"/", "/b/", "/d/", "/d/e/", "/d/e/f/", *TREE})


def test_lists_come_in_pages(tree: tuple[Lab, str]) -> None:
    lab, repo = tree

    def page(walk: bool, after: str = "", **fields: Any) -> list[str]:
        kind = pfs_proto.WalkFileRequest if walk else pfs_proto.ListFileRequest
        marker = {"paginationMarker": file_message(lab, repo, after)} if after else {}
        request = kind(file=file_message(lab, repo, "/"), **marker, **fields)
        return paths(lab.call(lab.stubs.pfs.WalkFile if walk else lab.stubs.pfs.ListFile, request))

    assert page(False, number=2) == ["/a1.dat", "/a2.dat"]
    assert page(False, number=2, after="/a2.dat") == ["/b-", "/b/"]
    assert page(False, after="/b/") == ["/d/"]
    assert page(False, number=2, reverse=True) == ["/d/", "/b/"]
    assert page(False, number=2, reverse=True, after="/d/") == ["/b/", "/b-"]
    assert page(True, number=3) == ["/", "/a1.dat", "/a2.dat"]
    assert page(True, number=3, after="/b-") == ["/b/", "/b/1", "/b/2"]
    with refused("UNKNOWN", "number must be > 0 when reverse"):
        page(False, reverse=True)
    with refused("UNKNOWN", "more than 100000"):
        page(False, number=100_001)


def test_an_archive_holds_what_matches_with_its_directories(lab: Lab) -> None:
    repo = lab.repo()
    files = {"/a": b"1" * 700, "/d/b": b"2" * (MIB + 1), "/d/" + "n" * 200: b"a long name", "/e": b""}
    lab.put(repo, files)
    request = pfs_proto.GetFileRequest(file=file_message(lab, repo, "/"))
    data = b"".join(message.value for message in lab.call(lab.stubs.pfs.GetFileTAR, request))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        read = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
        assert "/d" in [member.name for member in archive if member.isdir()]
    assert read == files
    with refused("NOT_FOUND", "file /none not found in repo"):
        request.file.path = "/none"
        list(lab.call(lab.stubs.pfs.GetFileTAR, request))


# Deleting, copying, comparing


def test_deletions_take_files_and_directories(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/d/a": "", "/d/e/b": "", "/f": "", "/g": ""})
    lab.done(repo)  # what is in a directory is looked up
    lab.put(repo, delete=["/f", "/d/", "/nothing", "/none/"])
    assert set(lab.files(repo)) == {"/g"}
    lab.put(repo, delete=["/g"])
    assert lab.files(repo) == {}
    assert list(lab.client.glob_file(lab.at(repo), "/**")) == []
    assert list(lab.client.walk_file(lab.at(repo), "/")) == []


def test_a_put_of_a_directorys_name_hides_nothing_silently(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/d/a": "1"})
    commit = lab.put(repo, {"/d": "a file"})
    assert "collision" in lab.done(repo, commit).error
    assert set(lab.files(repo, "master^")) == {"/d/a"}


def test_copies_go_across_repos_and_are_recursive(lab: Lab) -> None:
    source, target = lab.repo(), lab.repo()
    lab.put(source, {"/d/x": "x", "/d/e/y": "y", "/z": "z"})
    lab.done(source)
    commit = lab.start(target)
    at = lab.at(target, commit)
    lab.client.copy_file(lab.commit_message(source), "/d", at, "/copied")
    lab.client.copy_file(lab.commit_message(source), "/z", at, "/z2")
    lab.client.copy_file(lab.commit_message(source), "/z", at, "/z2", append=True)
    lab.client.copy_file(lab.commit_message(source), "/d/x", at, "/over")
    lab.client.copy_file(lab.commit_message(source), "/z", at, "/over")
    lab.finish(target, commit)
    assert lab.files(target) == {"/copied/x": b"x", "/copied/e/y": b"y", "/z2": b"zz", "/over": b"z"}


def test_a_copy_is_of_the_moment(lab: Lab) -> None:
    repo = lab.repo()
    first = lab.put(repo, {"/a": "1"})
    lab.put(repo, {"/a": "2"})
    lab.done(repo)
    lab.client.copy_file(lab.commit_message(repo, first), "/a", lab.at(repo), "/old")
    assert lab.files(repo) == {"/a": b"2", "/old": b"1"}


def test_a_difference_lists_files_and_the_directories_above_them(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/d/same": "1", "/d/old": "1", "/other/x": ""})
    commit = lab.put(repo, {"/d/new": "2"}, delete=["/d/old"])
    lab.done(repo)
    found = [(answer.new_file.file.path, answer.old_file.file.path) for answer in lab.client.diff_file(lab.at(repo, commit), "/")]
    assert found == [("/", "/"), ("/d/", "/d/"), ("/d/new", ""), ("", "/d/old")]
    answers = list(lab.client.diff_file(lab.at(repo), "/d/new", lab.at(repo, "master^"), "/d/old"))
    assert [(answer.HasField("new_file"), answer.HasField("old_file")) for answer in answers] == [(True, False), (False, True)]


def test_file_sets_become_part_of_a_commit(lab: Lab) -> None:
    repo = lab.repo()
    add = pfs_proto.AddFile(path="/from-a-set")
    add.raw.value = b"1"
    made = lab.call(lab.stubs.pfs.CreateFileSet, iter([pfs_proto.ModifyFileRequest(add_file=add)]))
    commit = lab.start(repo)
    request = pfs_proto.AddFileSetRequest(commit=lab.commit_message(repo, commit), file_set_id=made.file_set_id)
    lab.call(lab.stubs.pfs.AddFileSet, request)
    lab.finish(repo, commit)
    assert lab.files(repo) == {"/from-a-set": b"1"}


def test_the_stores_own_check_finds_nothing(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/a": "1"})
    lab.done(repo)
    found = [answer.error or answer.fix for answer in lab.client.fsck()]
    assert [text for text in found if lab.project in text] == []
