"""The COCO detection model: downloaded once, checked, kept."""

import hashlib
import logging
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from laptop.errors import ModelError

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Archive:
    """An archive of TensorFlow's detection model zoo.

    :ivar sha1: The digest under which the archive is known publicly, 40 hex digits.
    :ivar member: Path of the frozen graph inside it.
    """

    url: str
    sha1: str
    member: str


COCO_SSD_MOBILENET = Archive(
    url="https://storage.googleapis.com/download.tensorflow.org/models/object_detection/ssd_mobilenet_v1_coco_11_06_2017.tar.gz",
    sha1="a88a18cca9fe4f9e496d73b8548bfd157ad286e2",
    member="ssd_mobilenet_v1_coco_11_06_2017/frozen_inference_graph.pb",
)


def fetch(cache: Path, archive: Archive = COCO_SSD_MOBILENET) -> Path:
    """The frozen graph on this machine: from ``cache``, or downloaded into it, which is logged.

    :raises ModelError: No network, a wrong archive, a full disk. The cache then holds nothing new.
    """
    graph = cache / Path(archive.member).parent.name / "frozen_inference_graph.pb"
    if graph.exists():
        log.info("using the model in %s", graph)
        return graph
    graph.parent.mkdir(parents=True, exist_ok=True)
    log.info("downloading %s (29 MB, once)", archive.url)
    try:
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            packed, unpacked = Path(folder) / "archive.tar.gz", Path(folder) / "graph.pb"
            _download(archive.url, packed)
            _check(packed, archive)
            with tarfile.open(packed) as tar, unpacked.open("wb") as target:
                source = tar.extractfile(archive.member)
                if source is None:
                    msg = f"{archive.url} has no file {archive.member}; {_WAY_OUT}"
                    raise ModelError(msg)
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
            unpacked.replace(graph)
    except (OSError, KeyError, tarfile.TarError) as error:
        msg = f"the detection model could not be fetched from {archive.url}: {error}; {_WAY_OUT}"
        raise ModelError(msg) from error
    log.info("the model is in %s", graph)
    return graph


_WAY_OUT = "give a frozen graph that you have: make demo MODEL=path/to/frozen_inference_graph.pb"


def _download(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, target.open("wb") as file:  # noqa: S310 - a constant https address
        shutil.copyfileobj(answer, file)


def _check(packed: Path, archive: Archive) -> None:
    with packed.open("rb") as file:
        found = hashlib.file_digest(file, "sha1").hexdigest()
    if found != archive.sha1:
        msg = f"{archive.url} is not the official archive: SHA-1 {found}, expected {archive.sha1}; {_WAY_OUT}"
        raise ModelError(msg)
