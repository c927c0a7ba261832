import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from laptop.errors import ModelError
from laptop.model import Archive, fetch

MEMBER = "some_model/frozen_inference_graph.pb"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder that a real HTTP server serves; its address is in ``address.txt``."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (folder / "address.txt").write_text(f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def archive(site: Path, *, member: str = MEMBER, sha1: str | None = None) -> Archive:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        info = tarfile.TarInfo(member)
        info.size = 5
        tar.addfile(info, io.BytesIO(b"graph"))
    (site / "model.tar.gz").write_bytes(content.getvalue())
    digest = sha1 or hashlib.sha1(content.getvalue()).hexdigest()  # noqa: S324 - the digest that the archive is published with
    return Archive((site / "address.txt").read_text() + "/model.tar.gz", digest, MEMBER)


def test_the_model_is_downloaded_once(site: Path, tmp_path: Path) -> None:
    wanted = archive(site)
    first = fetch(tmp_path / "cache", wanted)
    (site / "model.tar.gz").unlink()

    assert fetch(tmp_path / "cache", wanted) == first
    assert first.read_bytes() == b"graph"


def test_an_archive_that_is_not_the_official_one_is_refused_and_not_kept(site: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not the official archive.*MODEL="):
        fetch(tmp_path / "cache", archive(site, sha1="0" * 40))

    assert not list((tmp_path / "cache").rglob("*.*"))


def test_an_archive_without_the_graph_is_refused(site: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"frozen_inference_graph\.pb"):
        fetch(tmp_path / "cache", archive(site, member="some_model/other.pb"))


def test_without_a_network_the_way_out_is_named(tmp_path: Path) -> None:
    unreachable = Archive("http://127.0.0.1:9/model.tar.gz", "0" * 40, MEMBER)

    with pytest.raises(ModelError, match=r"could not be fetched.*make demo MODEL="):
        fetch(tmp_path / "cache", unreachable)
