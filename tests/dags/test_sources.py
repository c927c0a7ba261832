"""Where pushes may come from: nothing that a form names, and no link in a folder, reads what is not meant for it."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.files import SourceFile, open_source, read_ahead, read_manifest, write_manifest
from airflow_pachyderm.urls import shown_url
from dags.common.images_push import odd_ones
from dags.common.landing import LEADS_OUT, PassedOver, list_images
from dags.common.sources import require_allowed
from dags.settings import Settings


def allowed(url: str, *roots: str, landing: str = "") -> bool:
    try:
        require_allowed(url, Settings(sources=";".join(roots), landing=landing), what="Folder")
    except PachydermInvalidError:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "root", "expected"),
    [
        ("gs://bucket/2026/11", "gs://bucket", True),
        ("gs://bucket/2026/11", "gs://bucket/2026/", True),
        ("gs://bucket/2026", "gs://bucket/2026", True),
        ("gs://", "gs://bucket", False),
        ("gs://bucket/2026-private", "gs://bucket/2026", False),
        ("gs://bucket/2026/../private", "gs://bucket/2026", False),
        ("gs://bucket-private/2026", "gs://bucket", False),
        ("gs://other@bucket/2026", "gs://bucket", False),
        ("gs://mine@bucket/2026", "gs://mine@bucket", True),
        ("s3://bucket/2026", "gs://bucket", False),
        ("gs://any/thing", "gs://", True),
        ("http://169.254.169.254/latest", "https://169.254.169.254/", False),
        ("https://site.example/a/%2e%2e/b", "https://site.example/a", False),
        ("https://site.example.evil.example/a", "https://site.example", False),
        ("simplecache::file:///etc", "/etc", False),
        ("/etc", "gs://etc", False),
    ],
)
def test_a_url_is_allowed_below_its_root_only(url: str, root: str, *, expected: bool) -> None:
    assert allowed(url, root) is expected


def test_paths_are_followed_before_they_are_compared(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "away").symlink_to(tmp_path / "out")
    (tmp_path / "alias").symlink_to(tmp_path / "in")
    root = str(tmp_path / "in")
    good = (root, f"{root}/deep", f"file://{root}/deep", f"local://{root}/deep", f"{root}/deep/..", str(tmp_path / "alias" / "deep"))
    bad = (str(tmp_path), f"{root}/..", f"{root}/away", f"file://{root}/../out", f"{root}er", "/etc", "etc", "file://etc", "~", "file://~")
    assert [path for path in good if not allowed(path, root)] == []
    assert [path for path in bad if allowed(path, root)] == []
    assert allowed(f"{root}/deep", "/")
    assert allowed(f"{root}/deep", landing=root)
    assert not allowed(root)


def test_the_refusal_says_what_is_allowed_and_who_changes_it() -> None:
    with pytest.raises(PachydermInvalidError) as caught:
        require_allowed("https://me:secret@site.example/x?key=secret", Settings(sources="/data; gs://bucket/a\n/more"), what="Folder")
    text = str(caught.value)
    assert "those are /data, gs://bucket/a, /more. Whoever runs Airflow allows more of them: Airflow Variable tuskwatch_sources" in text
    assert "secret" not in text


def listed(folder: Path, pattern: str = "**", roots: Sequence[str] = ()) -> tuple[list[SourceFile], dict[str, list[str]]]:
    passed = PassedOver()
    return [found.file for found in list_images(str(folder), pattern, passed, roots=roots)], passed.names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an image, and links: to a file and a folder outside, within, and with several steps."""
    folder = tmp_path / "landing"
    (folder / "day").mkdir(parents=True)
    (folder / "dev1_1511891098.jpg").write_bytes(b"image")
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "dev1_1511891000.jpg").write_bytes(b"secret")
    (folder / "dev1_1511891999.jpg").symlink_to("/etc/passwd")
    (folder / "dev2_1511891999.jpg").symlink_to(folder / "dev1_1511891999.jpg")
    (folder / "dev3_1511891999.jpg").symlink_to("../private/dev1_1511891000.jpg")
    (folder / "away").symlink_to(tmp_path / "private")
    (folder / "day" / "again.jpg").symlink_to("../dev1_1511891098.jpg")
    return folder


def test_links_that_leave_the_root_are_passed_over_and_told(folder: Path) -> None:
    files, passed = listed(folder)
    assert [file.url for file in files] == [f"file://{folder}/dev1_1511891098.jpg"]
    assert sorted(passed[LEADS_OUT]) == ["away", "dev1_1511891999.jpg", "dev2_1511891999.jpg", "dev3_1511891999.jpg"]


def test_a_link_into_another_root_is_followed(folder: Path) -> None:
    files, _ = listed(folder, "*", roots=[str(folder), str(folder.parent / "private")])
    assert [(file.path, file.within) for file in files] == [
        ("/dev1_1511891098.jpg", str(folder)),
        ("/dev3_1511891999.jpg", str(folder.parent / "private")),
    ]


def test_a_file_that_became_a_link_since_is_not_read(folder: Path, tmp_path: Path) -> None:
    """Whoever may write the folder exchanges a file, or its folder, between the listing and the push."""
    (folder / "day" / "dev4_1511891098.jpg").write_bytes(b"secret")
    write_manifest(str(tmp_path / "manifest"), listed(folder)[0])
    files = {file.path: file for file in read_manifest(str(tmp_path / "manifest"))}
    (folder / "dev1_1511891098.jpg").unlink()
    (folder / "dev1_1511891098.jpg").symlink_to(tmp_path / "private" / "dev1_1511891000.jpg")
    (folder / "day").rename(tmp_path / "day")
    (folder / "day").symlink_to(tmp_path / "day")
    assert len(files) == 2
    for file in files.values():
        with pytest.raises(PachydermSourceError, match=f"leads out of {folder} since it was listed"):
            list(read_ahead([file]))
    assert odd_ones(files.values(), suspect="", cause=None) == {file.url: LEADS_OUT for file in files.values()}


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    path = "/dev/zero" if kind == "device" else str(tmp_path / kind)
    with pytest.raises((PachydermSourceError, IsADirectoryError), match=r"is no file but|Is a directory"):
        open_source(SourceFile("/x", path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pass@site/x", "https://***@site/x"),
        ("Cannot read ftp://me:p@ss@site/x: no; see http://u:@h", "Cannot read ftp://***@site/x: no; see http://***@h"),
        ("https://site/x?X-Goog-Signature=abc: gone", "https://site/x?… gone"),
        ("gs://conn@bucket/x?y", "gs://conn@bucket/x?y"),
        ("postgresql+psycopg2://a:b@/db", "postgresql+psycopg2://***@/db"),
        ("/data/a:b@c", "/data/a:b@c"),
    ],
)
def test_urls_are_told_without_their_secrets(text: str, expected: str) -> None:
    assert shown_url(text) == expected
