"""Sort images into ``/valid`` and ``/invalid``.

An image is valid when its name says which camera took it and when, and its bytes decode as what the name promises, within limits. It is
passed on as a symlink, so that Pachyderm stores no second copy. Beside an invalid one lies ``<name>.reason.json``::

    {"schema": "tuskwatch.invalid/1", "name": "blah.jpg", "code": "bad-name", "message": "blah.jpg: the name is not ..."}
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from stages.common.errors import RejectedImageError
from stages.common.files import link, path_within, walk_files, write_json
from stages.common.images import LIMITS_HELP, ImageLimits, decode_rgb, load_pixels, open_image
from stages.common.names import parse_image_name, shown
from stages.common.runner import Datum

log = logging.getLogger(__name__)

_REASON_SUFFIX = ".reason.json"
_NAME_MAX_BYTES = 255  # of a file name, on every file system that we may write to


class ValidateStage:
    """``images:/*`` to ``/valid/<name>`` or ``/invalid/<name>`` and ``/invalid/<name>.reason.json``."""

    name = "validate"
    inputs: Mapping[str, str] = {"images": "folder of images"}
    settings_help = f"environment:\n{LIMITS_HELP}"

    def warm_up(self, _env: Mapping[str, str], /) -> None:
        """Load the two decoders."""
        from PIL import Image

        Image.preinit()

    def process(self, datum: Datum) -> None:
        """Sort every image of the datum.

        :raises StageError: The input is not there or a setting is wrong. An image is never the reason.
        """
        limits = ImageLimits.from_env(datum.env)
        root = datum.inputs["images"]
        for path in walk_files(root):
            _sort(path, path_within(path, root), out=datum.out, limits=limits)


def _sort(path: Path, relative: Path, *, out: Path, limits: ImageLimits) -> None:
    try:
        check_image(path, relative, limits)
    except RejectedImageError as exc:
        log.info("invalid: %s", exc)
        if path.is_file():  # a link to anything else is an output that Pachyderm cannot store
            link(path, out / "invalid" / relative)
        reason = {"schema": "tuskwatch.invalid/1", "name": relative.as_posix(), "code": exc.code, "message": str(exc)}
        write_json(out / "invalid" / relative.parent / _reason_name(relative.name), reason)
    else:
        link(path, out / "valid" / relative)


def check_image(path: Path, relative: Path, limits: ImageLimits) -> None:
    """Check name and bytes of one image.

    :param relative: Its path in the repo.
    :raises RejectedImageError: With the code of the first thing found wrong.
    """
    if len(relative.parts) > 1:
        raise RejectedImageError("nested", f"{shown(relative.as_posix())}: images lie at the top of the repo, not in folders")
    parse_image_name(relative.name)
    with open_image(path, limits) as image:
        if image.format != "JPEG":
            decode_rgb(path, limits)
            return
        # A JPEG's data is read to the end at every scale, and an eighth is the cheapest.
        image.draft(None, (image.width // 8, image.height // 8))
        load_pixels(image, path)


def _reason_name(name: str) -> str:
    """Return the name of the reason file; a name too long to take the suffix is cut and made unique by a digest."""
    whole = name + _REASON_SUFFIX
    if len(os.fsencode(whole)) <= _NAME_MAX_BYTES:
        return whole
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    kept = os.fsencode(name)[: _NAME_MAX_BYTES - len(_REASON_SUFFIX) - len(digest) - 1]
    return f"{kept.decode(errors='ignore')}~{digest}{_REASON_SUFFIX}"
