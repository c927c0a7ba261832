"""What a cancelled call may not do to the thread that works for it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from minipachd.api.threads import overlapped, stream, to_the_end, wait_for
from minipachd.pfs import Changes


def test_a_cancelled_call_waits_for_its_work():
    """A client that hangs up during the last transaction of an upload must not have the upload's bytes removed under it."""
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        go_on.wait(20)
        done.append(True)

    async def main():
        task = asyncio.ensure_future(to_the_end(work))
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # impatient clients do not change anything
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == [True]

    asyncio.run(main())


def test_its_result_and_its_error_come_back():
    def fail():
        msg = "no"
        raise ValueError(msg)

    assert asyncio.run(to_the_end(lambda: 7)) == 7
    with pytest.raises(ValueError, match="no"):
        asyncio.run(to_the_end(fail))


def test_streams_give_everything_in_order():
    async def main():
        return [item async for item in stream(iter(range(1000)), batch=7)]

    assert asyncio.run(main()) == list(range(1000))


def test_waiters_are_woken_by_changes():
    changes, ready = Changes(), threading.Event()

    async def main():
        waiting = asyncio.ensure_future(wait_for(changes, lambda: "seen" if ready.is_set() else None))
        ready.set()
        while not waiting.done():
            await asyncio.to_thread(changes.notify)
        return await waiting

    assert asyncio.run(main()) == "seen"
    assert changes.wait(changes.version, 0.001) is False
    assert changes.wait(changes.version - 1) is True


def test_overlapped_work_runs_in_order_and_ends_before_a_cancelled_call_comes_back() -> None:
    done: list[int] = []
    began, release = threading.Event(), threading.Event()

    def work(item: int) -> None:
        began.set()
        release.wait(10)
        done.append(item)

    async def items() -> AsyncIterator[int]:
        for item in range(3):
            yield item

    async def main() -> None:
        call = asyncio.ensure_future(overlapped(items(), lambda item: to_the_end(partial(work, item))))
        await asyncio.to_thread(began.wait, 10)
        call.cancel()
        asyncio.get_running_loop().call_later(0.05, release.set)
        with pytest.raises(asyncio.CancelledError):
            await call
        assert done == [0]
        await overlapped(items(), partial(asyncio.to_thread, work))

    asyncio.run(main())
    assert done == [0, 0, 1, 2]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_overlapped_work_that_fails_fails_the_call(failing: int) -> None:
    async def items() -> AsyncIterator[int]:
        for item in range(3):
            yield item

    def work(item: int) -> None:
        if item == failing:
            raise ValueError(item)

    with pytest.raises(ValueError, match=str(failing)):
        asyncio.run(overlapped(items(), partial(asyncio.to_thread, work)))
