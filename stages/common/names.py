"""Image names as the stages read them: a bad one is a reason to reject the image."""

from __future__ import annotations

from stages.common.errors import RejectedImageError
from stages.contract.names import BadNameError, ImageName


def parse_image_name(name: str) -> ImageName:
    """Take an image name apart.

    :raises RejectedImageError: ``bad-name`` or ``bad-timestamp``.
    """
    try:
        return ImageName.parse(name)
    except BadNameError as exc:
        raise RejectedImageError(exc.code, str(exc)) from exc
