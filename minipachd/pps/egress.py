"""Egress: the files of a job's output commit, copied to the URL that the spec names, before the job ends."""

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from minipachd.errors import CorruptError, ForbiddenError, MinipachdError, UnsupportedError
from minipachd.pfs import FileTree, Pfs
from minipachd.pfs.sources import shown
from minipachd.pfs.targets import TargetError, copy_to_url

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0
"""How long a URL that cannot be written to is tried again. Pachyderm tries for ever, and the jobs behind wait as long."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0


class EgressFailedError(MinipachdError):
    """The files could not be copied; some may be there."""


class EgressTimedOutError(EgressFailedError):
    """The job's time was over first."""


def egress(
    pfs: Pfs, files: FileTree, url: str, *, work_root: Path, cancelled: threading.Event, deadline: float | None, say: Callable[[str], None]
) -> bool:
    """Copy all files of an output, as often as it takes.

    :param cancelled: Ends it between two files.
    :param deadline: Of the job, on the clock of ``time.monotonic``.
    :param say: Takes what a user should know.
    :return: False when it was cancelled.
    :raises EgressFailedError: It was given up.
    """
    began, pause, trouble = time.monotonic(), _FIRST_PAUSE_SECONDS, ""

    def over() -> bool:
        return deadline is not None and time.monotonic() >= deadline

    while not over():
        try:
            with tempfile.TemporaryDirectory(dir=work_root, prefix="egress-", ignore_cleanup_errors=True) as tmp:
                copied = copy_to_url(
                    url,
                    files.entries(),
                    pfs.write_to,
                    tmp=Path(tmp),
                    local=pfs.local_files,
                    cancelled=lambda: cancelled.is_set() or over(),
                )
        except TargetError as exc:
            trouble = f": {exc}"
            if time.monotonic() + pause > began + PATIENCE_SECONDS:
                raise EgressFailedError(
                    f"egress given up after {time.monotonic() - began:.0f} s{trouble}; "
                    "check the URL and, in the server's environment, its credentials"
                ) from exc
            say(f"egress{trouble}; next try in {pause:g} s")
        except (CorruptError, ForbiddenError, UnsupportedError) as exc:
            raise EgressFailedError(f"egress to {shown(url)} failed: {exc}") from exc
        else:
            if copied.complete:
                say(f"egress: {copied.files} files, {copied.size_bytes} bytes to {shown(url)} in {time.monotonic() - began:.3f} s")
                return True
        if cancelled.wait(pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic()))):
            return False
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    raise EgressTimedOutError(f"job timed out: its job_timeout was over before the end of its egress to {shown(url)}{trouble}")
