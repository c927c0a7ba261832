"""Planning looks whether it is still wanted, and counts what it is going to build."""

import time
from collections.abc import Callable

from minipachd.errors import InvalidError, MinipachdError
from minipachd.settings import Settings

MAX_DATUMS = Settings.max_datums
_LOOK_EVERY, _LOOK_SECONDS = 256, 0.2


class TooManyDatumsError(InvalidError):
    """An input has more datums than a plan may hold."""


class NotWantedError(MinipachdError):
    """Nobody waits for the plan any more."""


class Watch:
    """Called while something is enumerated.

    :param cancelled: Asked a few times a second.
    :param most: How many datums, or parts of datums, may be held in memory at once; see ``--max-datums``.
    """

    def __init__(self, cancelled: Callable[[], bool] = lambda: False, *, most: int = MAX_DATUMS) -> None:
        self.most = most
        self._cancelled = cancelled
        self._looks = 0
        self._due = time.monotonic() + _LOOK_SECONDS

    def look(self) -> None:
        """:raises NotWantedError: It was cancelled."""
        self._looks += 1
        if self._looks % _LOOK_EVERY == 0 and time.monotonic() >= self._due:
            if self._cancelled():
                raise NotWantedError("planning was cancelled")
            self._due = time.monotonic() + _LOOK_SECONDS

    def count(self, number: int, *, at_least: bool = False) -> None:
        """Before so many are built.

        :param at_least: There may be more; nobody has counted them to the end.
        :raises TooManyDatumsError: Too many.
        """
        if number > self.most:
            raise TooManyDatumsError(
                f"the input has {'at least ' if at_least else ''}{number:,} datums, and {self.most:,} are planned at most: narrow its "
                "globs, join instead of crossing, or start minipachd with a higher --max-datums"
            )
