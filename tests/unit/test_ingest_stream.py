"""The stream of batches, without gRPC: bounded, in order, and at its end with everything under way ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from c360.ingest.v1.ingest_pb2 import Event, StreamEventsRequest, StreamEventsResponse
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.api.grpc import sequence_of
from services.ingest.api.stream import IN_FLIGHT, Streams
from shared.errors import LimitExceeded, Unavailable


async def numbered(count: int) -> AsyncIterator[StreamEventsRequest]:
    for sequence in range(count):
        yield StreamEventsRequest(sequence=sequence)


async def idle() -> AsyncIterator[StreamEventsRequest]:
    yield StreamEventsRequest(sequence=7)
    await asyncio.Event().wait()


@given(delays=st.lists(st.integers(0, 3), max_size=12))
def test_answers_come_in_order_and_only_so_many_are_under_way(delays: list[int]) -> None:
    under_way = most = 0

    async def answer(request: StreamEventsRequest) -> StreamEventsResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(delays[request.sequence]):
            await asyncio.sleep(0)
        under_way -= 1
        return StreamEventsResponse(sequence=request.sequence)

    async def play() -> list[int]:
        return [response.sequence async for response in Streams().serve(numbered(len(delays)), answer)]

    assert asyncio.run(play()) == list(range(len(delays)))
    assert most <= IN_FLIGHT


@given(sequence=st.integers(0, 2**64 - 1))
def test_which_batch_it_is_can_be_told_without_parsing_all_of_it(sequence: int) -> None:
    assert sequence_of(StreamEventsRequest(sequence=sequence, events=[Event(name="Seen")]).SerializeToString()) == sequence


async def echo(request: StreamEventsRequest) -> StreamEventsResponse:
    return StreamEventsResponse(sequence=request.sequence)


async def test_who_takes_no_answers_is_read_no_further() -> None:
    read = 0

    async def counted() -> AsyncIterator[StreamEventsRequest]:
        nonlocal read
        async for request in numbered(100):
            read += 1
            yield request

    async with aclosing(Streams().serve(counted(), echo)) as answers:
        await anext(answers)
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert read <= IN_FLIGHT + 1


async def test_an_error_says_at_which_request_and_what_came_before_has_its_answer() -> None:
    async def answer(request: StreamEventsRequest) -> StreamEventsResponse:
        if request.sequence == 2:
            raise LimitExceeded("too many", reason="OVERLOADED")
        return await echo(request)

    answers = Streams().serve(numbered(9), answer)
    assert [(await anext(answers)).sequence for _ in range(2)] == [0, 1]
    with pytest.raises(LimitExceeded) as refused:
        await anext(answers)
    assert refused.value.facts["sequence"] == "2"


async def test_a_stop_ends_an_idle_stream_after_what_it_owes() -> None:
    streams = Streams()
    answers = streams.serve(idle(), echo)
    streams.close()
    assert (await anext(answers)).sequence == 7
    with pytest.raises(Unavailable) as refused:
        await anext(answers)
    assert refused.value.reason == "STOPPING"


async def test_a_caller_that_leaves_leaves_nothing_running() -> None:
    before = asyncio.all_tasks()

    async def never(request: StreamEventsRequest) -> StreamEventsResponse:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(Streams().serve(numbered(9), never))
    assert asyncio.all_tasks() == before
