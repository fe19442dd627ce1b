"""Who stops reading a stream gives up what it holds."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from shared.errors import DeadlineExceeded, LimitExceeded
from shared.rpc.sending import Running, taken_in_time


class Numbers:
    """Counts for ever, and tells when it was closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def read(self) -> AsyncGenerator[int, None]:
        try:
            number = 0
            while True:
                yield number
                number += 1
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            self.closed.set()


async def test_who_reads_gets_everything_in_order_and_leaves_nothing_behind() -> None:
    numbers = Numbers()
    stream = taken_in_time(numbers.read(), 30)
    assert [await anext(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
    await stream.aclose()
    assert numbers.closed.is_set()


@pytest.mark.parametrize("limits", [(0.01, 30.0), (30.0, 0.01)], ids=["of one", "of all"])
async def test_who_stops_reading_gives_up_what_the_stream_holds_and_is_told_when_it_reads_on(limits: tuple[float, float]) -> None:
    numbers = Numbers()
    stream = taken_in_time(numbers.read(), limits[0], in_all_s=limits[1])
    assert await anext(stream) == 0
    await asyncio.wait_for(numbers.closed.wait(), 10)
    with pytest.raises(DeadlineExceeded) as told:
        await anext(stream)
    assert told.value.reason == "STREAM_NOT_READ"


async def test_who_leaves_after_that_leaves_nothing_behind() -> None:
    numbers = Numbers()
    stream = taken_in_time(numbers.read(), 0.01)
    await anext(stream)
    await asyncio.wait_for(numbers.closed.wait(), 10)
    await stream.aclose()


async def test_an_end_is_an_end() -> None:
    async def two() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    assert [number async for number in taken_in_time(two(), 30)] == [1, 2]


async def test_there_are_no_more_streams_than_may_run_and_who_ended_or_was_given_up_leaves_room() -> None:
    running = Running(lambda at_most: LimitExceeded("busy", limit=at_most))
    ended, more = (taken_in_time(running.limited(Numbers().read(), 2), 30) for _ in range(2))
    slow = Numbers()
    given_up = taken_in_time(running.limited(slow.read(), 2), 0.01)
    await anext(ended)
    await anext(given_up)
    with pytest.raises(LimitExceeded):
        await anext(more)
    await asyncio.wait_for(slow.closed.wait(), 10)
    await ended.aclose()
    others = [taken_in_time(running.limited(Numbers().read(), 2), 30) for _ in range(2)]
    assert [await anext(other) for other in others] == [0, 0]
    for other in others:
        await other.aclose()
