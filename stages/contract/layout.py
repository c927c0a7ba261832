"""Where each pipeline writes, as paths in its output repo. They begin with ``/``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Final

from stages.contract.names import ImageName, seconds_of
from stages.contract.pipelines import OBJECT_DETECT, PLOT, THREAT_DETECT, VALIDATE
from stages.contract.records import Counts, Detections, Invalid, Record, Threat

# Input repos
MODEL_PATH: Final = "/frozen_inference_graph.pb"
RULES_PATH: Final = "/rule.json"

# validate
VALID: Final = "/valid"
INVALID: Final = "/invalid"
REASON_SUFFIX: Final = ".reason.json"
_NAME_MAX_BYTES: Final = 255  # of a file name, on every file system that we may write to

# plot
COUNTS: Final = "/threats.json"
CHART: Final = "/threats.png"

WRITES: Final[Mapping[str, Mapping[str, type[Record] | str]]] = {
    VALIDATE: {f"{VALID}/*": "the image", f"{INVALID}/*": "the image", f"{INVALID}/*{REASON_SUFFIX}": Invalid},
    OBJECT_DETECT: {"/*/*.json": Detections, "/*/*.jpg": "the image with boxes drawn"},
    THREAT_DETECT: {"/*/*.json": Threat},
    PLOT: {COUNTS: Counts, CHART: "the chart"},
}
"""What the pipelines write: a record, or a picture in words, by the glob of its paths."""


def valid(name: str) -> str:
    """Where validate passes a valid image on."""
    return f"{VALID}/{name}"


def invalid(path: str) -> str:
    """Where validate passes an invalid image on.

    :param path: In ``images``, without the leading ``/``; a nested one is invalid and keeps its folders.
    """
    return f"{INVALID}/{path}"


def reason(path: str) -> str:
    """Where validate says why an image is invalid: an :class:`~stages.contract.records.Invalid`.

    A name too long to take the suffix is cut and made unique by a digest.
    """
    folder, slash, name = path.rpartition("/")
    whole = name + REASON_SUFFIX
    if len(os.fsencode(whole)) > _NAME_MAX_BYTES:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        kept = os.fsencode(name)[: _NAME_MAX_BYTES - len(REASON_SUFFIX) - len(digest) - 1]
        whole = f"{kept.decode(errors='ignore')}~{digest}{REASON_SUFFIX}"
    return f"{INVALID}/{folder}{slash}{whole}"


def record(device: str, output_name: str) -> str:
    """Where object-detect writes its :class:`~stages.contract.records.Detections`, and threat-detect its threat."""
    return f"/{device}/{output_name}.json"


def picture(device: str, output_name: str) -> str:
    """Where object-detect writes the image with boxes drawn."""
    return f"/{device}/{output_name}.jpg"


def record_of(image: ImageName) -> str:
    """:func:`record` about an image."""
    return record(image.device, image.output_name)


def picture_of(image: ImageName) -> str:
    """:func:`picture` of an image."""
    return picture(image.device, image.output_name)


def output_name_of(path: str) -> str | None:
    """The output name of a :func:`record`'s path, None where it is none."""
    name = path.rpartition("/")[2]
    output_name = name.removesuffix(".json")
    return output_name if name.endswith(".json") and seconds_of(output_name) is not None else None


def last_of_second(device: str, seconds: int) -> str:
    """A path that stands behind all of a device's records up to this second, in order of names."""
    return f"/{device}/{seconds:010}~"  # "~" stands behind all that a name can hold
