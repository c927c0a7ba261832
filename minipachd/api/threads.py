"""Running the synchronous engine under the asynchronous server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeVar

from minipachd.pfs import Changes

T = TypeVar("T")

_BATCH = 256


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


async def overlapped(items: AsyncIterator[T], work: Callable[[T], object]) -> None:
    """Work on every item in turn, in a worker thread, while the next one is on its way. Comes back only when no work runs.

    :raises Exception: Whatever ``items`` or ``work`` raise.
    """
    running: asyncio.Future[object] | None = None
    try:
        async for item in items:
            if running is not None:
                await running
            running = asyncio.ensure_future(to_the_end(partial(work, item)))
        if running is not None:
            await running
    finally:
        while running is not None and not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if running is not None and not running.cancelled():
            running.exception()  # looked at, also when another error was first


async def stream(items: Iterator[T], *, batch: int = _BATCH) -> AsyncIterator[T]:
    """Iterate in worker threads, some items at a time; the iterator must be usable from any thread."""

    def some() -> list[T]:
        found: list[T] = []
        for item in items:
            found.append(item)
            if len(found) == batch:
                break
        return found

    while found := await asyncio.to_thread(some):
        for item in found:
            yield item


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
