"""Sort images into ``/valid`` and ``/invalid``.

An image is valid when its name says which camera took it and when, and its bytes decode as what the name promises, within limits. It is
passed on as a symlink, so that Pachyderm stores no second copy. Beside an invalid one lies ``<name>.reason.json``::

    {"schema": "tuskwatch.invalid/1", "name": "blah.jpg", "code": "bad-name", "message": "blah.jpg: the name is not ..."}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from stages.common.errors import RejectedImageError
from stages.common.files import below, link, path_within, walk_files, write_json
from stages.common.images import LIMITS_HELP, ImageLimits, decode_rgb, load_pixels, open_image
from stages.common.names import parse_image_name
from stages.common.runner import Datum
from stages.contract import layout
from stages.contract.names import shown
from stages.contract.pipelines import IMAGES, VALIDATE
from stages.contract.records import Invalid

log = logging.getLogger(__name__)


class ValidateStage:
    """``images:/*`` to ``/valid/<name>`` or ``/invalid/<name>`` and ``/invalid/<name>.reason.json``."""

    name = VALIDATE
    inputs: Mapping[str, str] = {IMAGES: "folder of images"}
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
        root = datum.inputs[IMAGES]
        for path in walk_files(root):
            _sort(path, path_within(path, root), out=datum.out, limits=limits)


def _sort(path: Path, relative: Path, *, out: Path, limits: ImageLimits) -> None:
    name = relative.as_posix()
    try:
        check_image(path, relative, limits)
    except RejectedImageError as exc:
        log.info("invalid: %s", exc)
        if path.is_file():  # a link to anything else is an output that Pachyderm cannot store
            link(path, below(out, layout.invalid(name)))
        write_json(below(out, layout.reason(name)), Invalid(name=name, code=exc.code, message=str(exc)).as_json())
    else:
        link(path, below(out, layout.valid(name)))


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
