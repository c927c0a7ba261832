"""Running the synchronous engine under the asynchronous server."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Generic, TypeVar

from minipachd.errors import MinipachdError
from minipachd.pfs import Changes, daemons

T = TypeVar("T")

_BATCH = 256
_FOREIGN_THREADS, _FOREIGN_ITEMS = 64, 4
_SILENT_SECONDS = 60.0


async def to_the_end(work: Callable[[], T]) -> T:
    """Run in a worker thread and come back only when it has ended, even when the call is cancelled meanwhile.

    For work on something that the caller cleans up afterwards: ``asyncio.to_thread`` leaves the thread running behind a cancelled call.

    :raises asyncio.CancelledError: The call was cancelled; the work is done all the same.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


async def overlapped(items: AsyncIterator[T], work: Callable[[T], Awaitable[object]]) -> None:
    """Work on every item in turn while the next one is on its way. Comes back only when no work runs; work is cancelled when we are.

    :raises Exception: Whatever ``items`` or ``work`` raise.
    """
    running: asyncio.Future[object] | None = None
    try:
        async for item in items:
            if running is not None:
                await running
            running = asyncio.ensure_future(work(item))
        if running is not None:
            await running
    finally:
        if running is not None:
            running.cancel()
        while running is not None and not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if running is not None and not running.cancelled():
            running.exception()  # looked at, also when another error was first


async def stream(items: Iterator[T], *, batch: int = _BATCH) -> AsyncIterator[T]:
    """Iterate in worker threads, some items at a time; the iterator must be usable from any thread."""
    async for found in lists(items, batch=batch):
        for item in found:
            yield item


async def lists(items: Iterator[T], *, batch: int = _BATCH) -> AsyncIterator[list[T]]:
    """:func:`stream`, the items of a batch together: who has many of them spares a step for each."""

    def some() -> list[T]:
        found: list[T] = []
        for item in items:
            found.append(item)
            if len(found) == batch:
                break
        return found

    while found := await asyncio.to_thread(some):
        yield found


async def wait_for(changes: Changes, look: Callable[[], T | None]) -> T:
    """Look, in a worker thread, until there is something; again after each change. Costs no thread while it waits.

    :raises Exception: Whatever ``look`` raises.
    """
    while True:
        seen = changes.version
        found = await asyncio.to_thread(look)
        if found is not None:
            return found
        await changes.wait_async(seen)


class TooSlowError(MinipachdError):
    """What a foreign thread works at did not come forward in time."""


class Foreign:
    """Threads for work that waits for other machines: at most some at a time, none of them one that answers calls, and none waited for.

    :param total_seconds: What one piece of work may take.
    """

    def __init__(self, total_seconds: float) -> None:
        self._total_seconds = total_seconds
        self._slots = asyncio.Semaphore(_FOREIGN_THREADS)

    async def run(self, work: Callable[[threading.Event], T], *, name: str) -> T:
        """Do it, in a thread that is left to itself when this call is cancelled.

        :param work: Its argument is set then.
        :param name: What is read or written, for the errors.
        :raises TooSlowError: It took too long.
        """
        async with aclosing(self.stream(lambda ended: iter([work(ended)]), name=name, silent_seconds=None)) as results:
            return await anext(results)

    async def stream(
        self, items: Callable[[threading.Event], Iterator[T]], *, name: str, silent_seconds: float | None = _SILENT_SECONDS
    ) -> AsyncGenerator[T, None]:
        """What an iterator gives, as it comes.

        :param silent_seconds: Without any item for so long it is given up.
        :raises TooSlowError: It was, or all of it took too long.
        :raises Exception: Whatever the iterator raises.
        """
        loop = asyncio.get_running_loop()
        await self._slots.acquire()
        channel: _Channel[T] = _Channel(loop)
        deadline = loop.time() + self._total_seconds

        def main() -> None:
            try:
                channel.send_all(items)
            finally:
                with suppress(RuntimeError):  # the loop is closed: the server has ended
                    loop.call_soon_threadsafe(self._slots.release)

        daemons.start(main, name="foreign")
        try:
            while True:
                left = deadline - loop.time()
                limit = left if silent_seconds is None else min(left, silent_seconds)
                try:
                    item, error = await asyncio.wait_for(channel.received.get(), max(0.0, limit))
                except TimeoutError:
                    over = "took longer than" if left <= limit else "sent nothing for"
                    raise TooSlowError(f"{name} {over} {self._total_seconds if left <= limit else limit:.0f} s: given up") from None
                if error is not None:
                    raise error
                if item is None:
                    return
                channel.room.release()
                yield item[0]
        finally:
            channel.ended.set()


class _Channel(Generic[T]):
    """From a thread to the loop: items in one-tuples, then an error or nothing. The thread waits while some are not taken."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ended = threading.Event()
        self.room = threading.Semaphore(_FOREIGN_ITEMS)
        self.received: asyncio.Queue[tuple[tuple[T] | None, Exception | None]] = asyncio.Queue()
        self._loop = loop

    def send_all(self, items: Callable[[threading.Event], Iterator[T]]) -> None:
        try:
            for item in items(self.ended):
                while not self.room.acquire(timeout=0.5):
                    if self.ended.is_set():
                        return
                if self.ended.is_set():
                    return
                self._send((item,), None)
        except Exception as exc:  # noqa: BLE001 - the caller gets it
            self._send(None, exc)
        else:
            self._send(None, None)

    def _send(self, item: tuple[T] | None, error: Exception | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            self._loop.call_soon_threadsafe(self.received.put_nowait, (item, error))
