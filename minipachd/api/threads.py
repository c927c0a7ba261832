"""Running the synchronous engine under the asynchronous server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from minipachd.pfs import Changes

T = TypeVar("T")

_BATCH = 256


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
