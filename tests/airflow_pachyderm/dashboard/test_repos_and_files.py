"""Repos, commits, directories, differences and contents; also of files that mean harm."""

import io
import zlib

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.airflow_pachyderm.dashboard.camera import frame
from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm

SCRIPT = b"<script>document.title = 'owned'</script>"
HOSTILE = {
    "/page.html": b"<!doctype html><title>x</title>" + SCRIPT,
    "/drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "/code.js": b"alert(1)",
    "/style.css": b"body { display: none }",
    "/document.xml": b"<?xml version='1.0'?><x xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></x>",
    "/named.jpg": b"<html>" + SCRIPT,
    "/manual.pdf": b"%PDF-1.4\x00\x01\xff\xfe",
    "/empty.html": b"",
}


@pytest.fixture(scope="module")
def hostile(pachyderm: Pachyderm) -> str:
    return pachyderm.commit("hostile", HOSTILE)


def test_a_directory_comes_in_pages_of_at_most_100(client: TestClient, pachyderm: Pachyderm) -> None:
    names = [f"/folder/{number:04}.txt" for number in range(250)]
    pachyderm.commit("many", dict.fromkeys(names, b"x"))

    shown: list[str] = []
    after = None
    sizes = []
    while True:
        page = client.get("api/repos/many/files", params={"path": "/folder", **({"after": after} if after else {})}).json()
        sizes.append(len(page["items"]))
        shown += [item["path"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break

    assert shown == names
    assert sizes == [100, 100, 50]
    assert client.get("api/repos/many/files?limit=101").status_code == 422


def test_commits_and_what_each_changed(client: TestClient, pachyderm: Pachyderm) -> None:
    first = pachyderm.commit("diary", {"/a": b"1", "/b": b"1"}, description="the first")
    second = pachyderm.commit("diary", {"/a": b"22", "/b": None, "/c/d": b"1"})

    commits = client.get("api/repos/diary/commits", params={"limit": 1}).json()
    older = client.get("api/repos/diary/commits", params={"before": commits["next"]}).json()
    diff = client.get("api/repos/diary/diff", params={"commit": second}).json()
    paged = client.get("api/repos/diary/diff", params={"commit": second, "limit": 1, "after": "/a"}).json()

    assert [item["id"] for item in commits["items"]] == [second]
    assert older["items"][0]["id"] == first
    assert older["items"][0]["description"] == "the first"
    assert [(item["path"], item["change"], item["old_size_bytes"], item["new_size_bytes"]) for item in diff["items"]] == [
        ("/a", "modified", 1, 2),
        ("/b", "removed", 1, None),
        ("/c/d", "added", None, 1),
    ]
    assert ([item["path"] for item in paged["items"]], paged["next"]) == (["/b"], "/b")


def test_repos_and_branches(client: TestClient, pachyderm: Pachyderm) -> None:
    pachyderm.commit("alone", {"/a": b"12345"})

    listed = {repo["name"]: repo for repo in client.get("api/repos").json()["items"]}
    repo = client.get("api/repos/alone").json()
    paged = client.get("api/repos", params={"limit": 1, "after": "alom"}).json()

    assert (listed["alone"]["size_bytes"], listed["alone"]["pipeline"]) == (5, False)
    assert [branch["name"] for branch in repo["heads"]] == ["master"]
    assert ([item["name"] for item in paged["items"]], paged["next"]) == (["alone"], "alone")


@pytest.mark.parametrize("path", HOSTILE)
def test_nothing_in_a_repo_is_sent_as_something_that_runs(client: TestClient, hostile: str, path: str) -> None:
    for reference in ("master", hostile):
        answer = client.get("api/repos/hostile/raw", params={"path": path, "ref": reference})

        assert answer.status_code == 200
        assert answer.content == HOSTILE[path]
        assert answer.headers["Content-Type"] in {"text/plain; charset=utf-8", "application/octet-stream"}
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox; frame-ancestors 'none'"


def test_images_are_images_by_their_bytes(client: TestClient, pachyderm: Pachyderm) -> None:
    png = io.BytesIO()
    Image.new("RGB", (5, 5)).save(png, "PNG")
    pachyderm.commit("pictures", {"/photo.jpg": frame(1), "/wrongly-named.txt": png.getvalue()})

    assert client.get("api/repos/pictures/raw?path=/photo.jpg").headers["Content-Type"] == "image/jpeg"
    assert client.get("api/repos/pictures/raw?path=/wrongly-named.txt").headers["Content-Type"] == "image/png"


def test_a_large_file_comes_whole_or_by_its_beginning_and_can_be_saved(client: TestClient, pachyderm: Pachyderm) -> None:
    content = b"0123456789" * 900_000
    pachyderm.commit("large", {"/log file.txt": content})

    whole = client.get("api/repos/large/raw", params={"path": "/log file.txt", "download": True})
    part = client.get("api/repos/large/raw", params={"path": "/log file.txt", "max_bytes": 25})

    assert whole.content == content
    assert whole.headers["Content-Disposition"] == "attachment; filename*=UTF-8''log%20file.txt"
    assert part.content == content[:25]


def test_content_is_cached_by_its_digest(client: TestClient, pachyderm: Pachyderm) -> None:
    commit = pachyderm.commit("cached", {"/photo.jpg": frame(5), "/copy.jpg": frame(5)})

    for kind in ("raw", "thumbnail"):
        by_commit = client.get(f"api/repos/cached/{kind}", params={"path": "/photo.jpg", "ref": commit})
        by_branch = client.get(f"api/repos/cached/{kind}", params={"path": "/photo.jpg"})
        copy = client.get(f"api/repos/cached/{kind}", params={"path": "/copy.jpg"})
        again = client.get(f"api/repos/cached/{kind}", params={"path": "/photo.jpg"}, headers={"If-None-Match": by_branch.headers["ETag"]})

        assert by_commit.headers["Cache-Control"] == "private, no-cache"  # what was seen ends with the login
        assert by_branch.headers["Cache-Control"] == "private, no-cache"
        assert by_commit.headers["ETag"] == by_branch.headers["ETag"] == copy.headers["ETag"]
        assert (again.status_code, again.content) == (304, b"")


def test_a_thumbnail_is_small_and_upright(client: TestClient, pachyderm: Pachyderm) -> None:
    picture = Image.new("RGB", (1600, 1200), "navy")
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    content = io.BytesIO()
    picture.save(content, "JPEG", exif=exif)
    pachyderm.commit("turned", {"/photo.jpg": content.getvalue()})

    answer = client.get("api/repos/turned/thumbnail?path=/photo.jpg")

    assert answer.headers["Content-Type"] == "image/webp"
    with Image.open(io.BytesIO(answer.content)) as small:
        assert small.size == (270, 360)


def _bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few hundred bytes of header and zeros."""
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    data = b"IDAT" + zlib.compress(b"\x00" * 1000)
    chunks = b"".join(len(c[4:]).to_bytes(4, "big") + c + zlib.crc32(c).to_bytes(4, "big") for c in (header, data, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_no_thumbnail_of_what_is_no_image_or_a_bomb(client: TestClient, pachyderm: Pachyderm) -> None:
    files = {
        "/text.jpg": b"no image",
        "/cut.jpg": frame(1)[:900],
        "/empty.jpg": b"",
        "/bomb.png": _bomb(),
        "/svg.jpg": HOSTILE["/drawing.svg"],
    }
    pachyderm.commit("broken", files)

    for path in files:
        answer = client.get("api/repos/broken/thumbnail", params={"path": path})
        assert (path, answer.status_code) == (path, 404)


@pytest.mark.parametrize(
    "path", ["", "a", "../a", "/../a", "/a/../b", "/./a", "//a", "/a\x00", "/a\nb", "/" + "a" * 5000], ids=lambda path: repr(path)[:20]
)
def test_paths_are_checked(client: TestClient, path: str) -> None:
    for route in ("raw", "thumbnail", "files"):
        answer = client.get(f"api/repos/hostile/{route}", params={"path": path})
        assert answer.status_code == 422


def test_a_path_is_a_name_and_no_pattern(client: TestClient, hostile: str) -> None:
    for path in ("/*", "/page.{html,js}", "/p?ge.html", "/**"):
        assert client.get("api/repos/hostile/raw", params={"path": path}).status_code == 404


@pytest.mark.parametrize(
    "route",
    [
        "api/repos/none",
        "api/repos/none/files",
        "api/repos/none/commits",
        "api/repos/hostile/files?ref=nobranch",
        "api/repos/hostile/raw?path=/nofile",
    ],
)
def test_what_is_not_there_is_404(client: TestClient, hostile: str, route: str) -> None:
    answer = client.get(route)

    assert (answer.status_code, answer.json()["kind"]) == (404, "not-found")
    assert answer.json()["way_out"]


def test_a_first_commit_is_all_additions_in_pages(client: TestClient, pachyderm: Pachyderm) -> None:
    names = [f"/{folder:02}/{number}.txt" for folder in range(70) for number in range(2)] + ["/deep/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f.txt"]
    first = pachyderm.commit("beginning", dict.fromkeys(names, b"x"))

    shown: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = client.get("api/repos/beginning/diff", params={"commit": first, "limit": 5, **after}).json()
        shown += [item["path"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}

    assert shown == names
    assert {item["change"] for item in page["items"]} == {"added"}
