"""The choices of the forms of ``rotate_model`` and ``update_rules``."""

from typing import Final

PUT: Final = "put"
ROLL_BACK: Final = "roll back"
ALL_IMAGES: Final = "all images"
NEW_IMAGES: Final = "only new images"
