"""Threads for what may never come back: a read from a machine that does not answer, a write to a share that is gone.

They are the server's last to care for: nobody waits for them at its end, as Python does for the threads of an executor.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start(work: Callable[[], T], *, name: str) -> Future[T]:
    """Run something in a thread of its own that holds up nobody."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def main() -> None:
        try:
            future.set_result(work())
        except BaseException as exc:  # noqa: BLE001 - whoever looks at the future gets it
            future.set_exception(exc)

    threading.Thread(target=main, name=name, daemon=True).start()
    return future
