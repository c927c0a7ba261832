"""Listing, manifests, and reading ahead."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.files import (
    BLOCK_BYTES,
    Batch,
    SourceFile,
    files_from,
    list_folder,
    read_ahead,
    read_manifest,
    repo_path,
    server_url,
    write_manifest,
)
from tests.e2e.site import ImageSite


def make(folder: Path, *names: str, content: bytes = b"x") -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def paths(folder: Path | str, pattern: str) -> list[str]:
    return [file.path for file in list_folder(str(folder), pattern)]


def test_a_folder_is_listed_in_order_with_sizes_and_urls(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "a.jpg", content=b"four")

    assert list(list_folder(str(tmp_path))) == [SourceFile(f"/{name}", f"file://{tmp_path}/{name}", 4) for name in ("a.jpg", "b.jpg")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["/a.jpg", "/b.png"]),
        ("*.jpg", ["/a.jpg"]),
        ("**", ["/a.jpg", "/b.png", "/2026/c.jpg", "/2026/11/d.jpg"]),
        ("**/*.jpg", ["/a.jpg", "/2026/c.jpg", "/2026/11/d.jpg"]),
        ("2026/*", ["/2026/c.jpg"]),
        ("*/*/*", ["/2026/11/d.jpg"]),
        ("2026/**/d.jpg", ["/2026/11/d.jpg"]),
        (".*", ["/.hidden.jpg"]),
        ("?.jpg", ["/a.jpg"]),
        ("nothing*", []),
    ],
)
def test_globs_stop_at_slashes_and_hide_dot_files(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    make(tmp_path, "a.jpg", "b.png", ".hidden.jpg", "2026/c.jpg", "2026/11/d.jpg")

    assert paths(tmp_path, pattern) == expected


def test_a_link_to_a_file_is_a_file_and_a_broken_one_is_not_there(tmp_path: Path) -> None:
    make(tmp_path, "real/a.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real/a.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")

    assert paths(tmp_path, "*") == ["/link.jpg"]


def test_odd_things_are_passed_over_and_told_and_the_rest_is_listed(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "cam1/b.jpg", "cam1/deep/c.jpg", "cam2/d.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "cam1" / "deep" / "up").symlink_to(tmp_path / "cam1")
    (tmp_path / "cam1" / "self").symlink_to(".")
    (tmp_path / "cam1" / "top").symlink_to(tmp_path)
    (tmp_path / "same").symlink_to("cam2")
    os.mkfifo(tmp_path / "cam2" / "pipe.jpg")
    told: dict[str, str] = {}

    found = [file.path for file in list_folder(str(tmp_path), "**/*.jpg", odd=lambda path, why: told.update({path: why}))]

    assert found == ["/a.jpg", "/cam1/b.jpg", "/cam1/deep/c.jpg", "/cam2/d.jpg", "/same/d.jpg"]
    assert told == {
        f"{tmp_path}/loop.jpg": "it cannot be looked at (Too many levels of symbolic links)",
        f"{tmp_path}/gone.jpg": "it is a link that leads nowhere",
        f"{tmp_path}/cam1/deep/up": "it is a link to a folder that it lies in",
        f"{tmp_path}/cam1/self": "it is a link to a folder that it lies in",
        f"{tmp_path}/cam1/top": "it is a link to a folder that it lies in",
        f"{tmp_path}/cam2/pipe.jpg": "it is neither a file nor a folder",
        f"{tmp_path}/same/pipe.jpg": "it is neither a file nor a folder",
    }


def test_odd_things_that_nobody_asked_for_are_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "a.jpg")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")

    assert paths(tmp_path, "*.jpg") == ["/a.jpg"]
    assert [record.getMessage() for record in caplog.records] == [f"Passing over {tmp_path}/gone.jpg: it is a link that leads nowhere"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_subfolder_that_cannot_be_read_does_not_cost_the_rest(tmp_path: Path) -> None:
    make(tmp_path, "cam1/a.jpg", "cam2/b.jpg")
    (tmp_path / "cam1").chmod(0)
    told: list[str] = []
    try:
        found = [file.path for file in list_folder(str(tmp_path), "**", odd=lambda path, _: told.append(path))]
    finally:
        (tmp_path / "cam1").chmod(0o700)

    assert (found, told) == (["/cam2/b.jpg"], [f"{tmp_path}/cam1"])


def test_a_memory_file_system_is_listed_like_a_disk() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe({"/bucket/day/a.jpg": b"1234", "/bucket/day/sub/b.jpg": b"12"})

    assert list(list_folder("memory://bucket/day", "**")) == [
        SourceFile("/a.jpg", "memory://bucket/day/a.jpg", 4),
        SourceFile("/sub/b.jpg", "memory://bucket/day/sub/b.jpg", 2),
    ]


@pytest.mark.parametrize(
    ("name", "message"), [("missing", "does not exist where this task runs"), ("file", "is a file where this task runs")]
)
def test_a_folder_that_is_none_is_named(tmp_path: Path, name: str, message: str) -> None:
    make(tmp_path, "file")

    with pytest.raises(PachydermSourceError, match=message) as caught:
        list(list_folder(str(tmp_path / name)))

    assert caught.value.url == str(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        with pytest.raises(PachydermSourceError, match="Cannot list"):
            list(list_folder(str(tmp_path)))
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_cannot_be_looked_at_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(PachydermSourceError, match=r"Cannot list .*/loop/images: .*Too many levels of symbolic links"):
        list(list_folder(str(tmp_path / "loop" / "images")))


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(PachydermSourceError, match="Cannot open ftps9://host/x"):
        list(list_folder("ftps9://host/x"))


def test_an_empty_glob_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PachydermInvalidError, match="is no glob"):
        list(list_folder(str(tmp_path), "/"))


def test_names_that_pachyderm_refuses_are_escaped() -> None:
    assert repo_path("IMG (1)+é.jpg") == "/IMG %281%29%2B%C3%A9.jpg"


@given(st.text(min_size=1))
def test_any_name_becomes_a_path_that_pachyderm_takes_and_no_two_names_the_same(name: str) -> None:
    path = repo_path(name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"))

    assert path.isascii()
    assert path.isprintable()
    assert not set(path) & set("*?[]{}!()@+^")


def test_urls_become_files_by_their_last_part() -> None:
    assert files_from(["gs://b/x/a.jpg", "/data/b.jpg"]) == [SourceFile("/a.jpg", "gs://b/x/a.jpg"), SourceFile("/b.jpg", "/data/b.jpg")]
    assert files_from({"day/a.jpg": "gs://b/x"}) == [SourceFile("/day/a.jpg", "gs://b/x")]


def test_two_urls_for_one_path_are_refused() -> None:
    with pytest.raises(PachydermInvalidError, match=r"/1/a\.jpg and /2/a\.jpg would both become /a\.jpg"):
        files_from(["/1/a.jpg", "/2/a.jpg"])


def test_a_manifest_gives_back_what_was_written(tmp_path: Path) -> None:
    files = [SourceFile("/a\n.jpg", "file:///a", 3), SourceFile("/b", "gs://b/b")]
    url = f"{tmp_path}/new/folder/0001.jsonl"

    write_manifest(url, files)

    assert read_manifest(url) == files


@pytest.mark.parametrize("content", ["{", "[1]\n[", '["/a"]\n', "7"])
def test_a_damaged_manifest_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "m").write_text(content)

    with pytest.raises(PachydermSourceError, match="clear the task that wrote it"):
        read_manifest(str(tmp_path / "m"))


def test_a_digest_tells_batches_apart() -> None:
    one = SourceFile("/a", "file:///a", 3)

    others = [
        Batch([SourceFile("/a", "file:///a", 4)]),
        Batch([SourceFile("/b", "file:///a", 3)]),
        Batch([one, one]),
        Batch(deletes=["/a"]),
    ]
    assert Batch([one]).digest == Batch([SourceFile("/a", "file:///a", 3)]).digest
    assert len({batch.digest for batch in [Batch([one]), *others]}) == 5


def read(files: list[SourceFile]) -> dict[str, bytes]:
    content: dict[str, bytes] = {}
    for block in read_ahead(files):
        assert block.first == (block.file.path not in content)
        assert len(block.data) <= BLOCK_BYTES
        content[block.file.path] = content.get(block.file.path, b"") + block.data
    return content


def test_files_of_all_sizes_arrive_whole_and_in_order(tmp_path: Path) -> None:
    sizes = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES]
    expected = {}
    for number, size in enumerate(sizes * 5):
        expected[f"/{number:02}"] = os.urandom(size)
        (tmp_path / f"{number:02}").write_bytes(expected[f"/{number:02}"])

    assert list(read(list(list_folder(str(tmp_path)))).items()) == list(expected.items())


def test_a_file_that_grew_since_it_was_listed_is_not_pushed(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", content=b"half")
    files = list(list_folder(str(tmp_path)))
    (tmp_path / "a.jpg").write_bytes(b"half and whole")

    with pytest.raises(PachydermSourceError, match=r"a\.jpg has 14 bytes but had 4 when it was listed"):
        read(files)


def test_a_file_that_is_gone_is_named_and_the_readers_end(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number:03}" for number in range(100)), content=bytes(2 * BLOCK_BYTES))
    files = list(list_folder(str(tmp_path)))
    (tmp_path / "050").unlink()

    with pytest.raises(PachydermSourceError, match=r"Cannot read file://.*/050: .*nothing of its batch is pushed"):
        read(files)

    assert readers_end()


def test_only_a_few_files_are_open_at_once(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number:03}" for number in range(200)), content=bytes(BLOCK_BYTES))
    most = 0
    for _ in read_ahead(list_folder(str(tmp_path))):
        most = max(most, sum(path.startswith(str(tmp_path)) for path in open_paths()))

    assert 0 < most <= 20


def test_giving_up_waits_for_no_file_that_stalls(tmp_path: Path) -> None:
    """A push that failed is given up in whatever thread the garbage collector runs in, which may be the one that all wait for."""
    make(tmp_path, *(f"{number}.jpg" for number in range(10)))
    with ImageSite(tmp_path) as site:
        files = list(list_folder(site.url))
        site.stall_on("7.jpg")
        blocks = read_ahead(files)
        next(blocks)
        assert site.stalled.wait(30)
        giving_up = threading.Thread(target=blocks.close, daemon=True)  # type: ignore[attr-defined] # it is a generator
        giving_up.start()
        giving_up.join(30)
        assert not giving_up.is_alive()


def test_what_was_opened_ahead_is_closed_when_nobody_wants_it(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number:03}" for number in range(50)), content=bytes(BLOCK_BYTES))
    blocks = read_ahead(list_folder(str(tmp_path)))
    next(blocks)
    blocks.close()  # type: ignore[attr-defined] # it is a generator
    assert readers_end()
    assert [path for path in open_paths() if path.startswith(str(tmp_path))] == []


def readers_end() -> bool:
    """Whether all threads that read ahead end by themselves."""
    readers = [thread for thread in threading.enumerate() if thread.name.startswith("pachyderm-read")]
    for thread in readers:
        thread.join(30)
    return not any(thread.is_alive() for thread in readers)


def open_paths() -> Iterator[str]:
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile by a reader
            yield os.readlink(link)  # noqa: PTH115 - Path.readlink makes "pipe:[1]" a path


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/data/a.jpg", "file:///data/a.jpg"),
        ("file:///data/a@b.jpg", "file:///data/a@b.jpg"),
        ("gs://my_conn@bucket/a.jpg", "gs://bucket/a.jpg"),
        ("gs://bucket/a@b.jpg", "gs://bucket/a@b.jpg"),
        ("https://user@host/a.jpg", "https://user@host/a.jpg"),
    ],
)
def test_a_url_as_the_server_gets_it(url: str, expected: str) -> None:
    assert server_url(url) == expected
