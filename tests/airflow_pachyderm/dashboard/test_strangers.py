"""What somebody else wrote into a repo does nothing to the page, nor to the server that makes it."""

import io
import struct
import zlib

import psutil
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from airflow_pachyderm.dashboard import models, thumbnailer
from airflow_pachyderm.dashboard.errors import NotThereError
from airflow_pachyderm.dashboard.plugin import SameOriginFrames
from airflow_pachyderm.dashboard.texts import shown
from airflow_pachyderm.dashboard.thumbnails import Thumbnails
from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm

MIB = 1 << 20


def one_colour(side: int) -> bytes:
    """A PNG of one colour: few bytes, many pixels."""
    packer = zlib.compressobj(1)
    row = b"\x00" + b"\x20" * 3 * side
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)


def test_thumbnails_of_huge_images_cost_the_server_nothing(client: TestClient, pachyderm: Pachyderm) -> None:
    pachyderm.commit("huge", {f"/{number}.png": one_colour(7000) + bytes(number) for number in range(3)})
    before = psutil.Process().memory_info().rss

    for number in range(3):
        answer = client.get("api/repos/huge/thumbnail", params={"path": f"/{number}.png"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/webp")
        with Image.open(io.BytesIO(answer.content)) as small:
            assert small.size == (360, 360)

    assert psutil.Process().memory_info().rss - before < 60 * MIB


def test_the_process_that_decodes_has_a_bound_and_ends_after_a_large_image() -> None:
    thumbnails = Thumbnails()
    thumbnails._made(one_colour(1000), "small.png")
    process = thumbnails._process
    assert process is not None
    assert psutil.Process(process.pid).rlimit(psutil.RLIMIT_AS) == (1 << 30, 1 << 30)
    thumbnails._made(one_colour(4000), "large.png")
    assert thumbnails._process is None
    thumbnails.close()


def test_an_image_that_takes_too_long_is_given_up_and_the_next_one_is_made() -> None:
    thumbnails = Thumbnails(seconds=0.0)
    with pytest.raises(NotThereError, match=r"slow\.png takes too long"):
        thumbnails._made(one_colour(6000), "slow.png")
    thumbnails._seconds = 60.0
    assert thumbnails._made(one_colour(10), "next.png")[:4] == b"RIFF"
    thumbnails.close()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_kind_of_image_has_a_thumbnail(mode: str) -> None:
    content = io.BytesIO()
    Image.new(mode, (600, 300)).save(content, "TIFF")
    pixels, made, reason = thumbnailer.thumbnail(content.getvalue())
    assert (pixels, reason) == (180_000, "")
    with Image.open(io.BytesIO(made)) as small:
        assert small.size == (480, 240)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("car", "car"),
        ("car \u202e69", "car \ufffd69"),
        ("a\x1b[2Jb\r", "a\ufffd[2Jb\ufffd"),
        ("two\nlines\tand 👩\u200d🚒", "two\nlines\tand 👩\u200d🚒"),
        ("x" * 30, "x" * 20 + "… (10 more characters)"),
        ("\ud800", "\ufffd"),
    ],
)
def test_texts_are_cut_and_turn_nothing_around(text: str, expected: str) -> None:
    assert shown(text, limit=20) == expected


def test_what_people_write_is_shown_so_everywhere(client: TestClient, pachyderm: Pachyderm) -> None:
    pachyderm.commit("written", {"/a": b"x"}, description="long \u202e" * 20_000)
    commits = client.get("api/repos/written/commits").json()
    assert len(str(commits)) < 10_000
    assert "\u202e" not in str(commits)
    assert models.ThreatObject(label="96 \u202e%69", score=1).label == "96 \ufffd%69"


def test_no_page_of_another_origin_may_frame_the_server() -> None:
    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        policy = [(b"content-security-policy", b"mine")] if scope["path"] == "/own" else []
        await send({"type": "http.response.start", "status": 200, "headers": policy})
        await send({"type": "http.response.body", "body": b""})

    client = TestClient(SameOriginFrames(app))
    assert client.get("/").headers["X-Frame-Options"] == "SAMEORIGIN"
    assert client.get("/").headers["Content-Security-Policy"] == "frame-ancestors 'self'"
    assert client.get("/own").headers["Content-Security-Policy"] == "mine"
