"""Waiting for something to change, from threads and from coroutines, without polling."""

import asyncio
import threading


class Changes:
    """A counter that grows with every change of the engine's state; whoever waits for more than he has seen is woken.

    Usage: read :attr:`version`, look at the state, and if it is not yet what you want, wait with that version.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._version = 0
        self._futures: set[asyncio.Future[None]] = set()

    @property
    def version(self) -> int:
        return self._version

    def notify(self) -> None:
        """Say that something changed. Call after the change is visible to readers."""
        with self._condition:
            self._version += 1
            self._condition.notify_all()
            woken, self._futures = self._futures, set()
        for future in woken:
            try:
                future.get_loop().call_soon_threadsafe(_resolve, future)
            except RuntimeError:  # its loop has been closed: nobody waits there any more
                continue

    def wait(self, since: int, timeout_seconds: float | None = None) -> bool:
        """Block the thread until :attr:`version` exceeds ``since``.

        :return: False when the time ran out first.
        """
        with self._condition:
            return self._condition.wait_for(lambda: self._version > since, timeout_seconds)

    async def wait_async(self, since: int) -> None:
        """Suspend the coroutine until :attr:`version` exceeds ``since``; costs no thread."""
        future = asyncio.get_running_loop().create_future()
        with self._condition:
            if self._version > since:
                return
            self._futures.add(future)
        try:
            await future
        finally:
            with self._condition:
                self._futures.discard(future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
