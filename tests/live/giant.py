"""One customer with more of everything than anybody should have: events, identifiers, and others who were merged one after the other."""

from collections.abc import AsyncIterator, Iterator

import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef

from services.stack.stack import Stack
from shared.events.catalogue import Entry
from shared.events.consent import ALL_TRAITS, PurposeDefined
from shared.ids import to_text
from shared.instants import SECOND
from shared.vault import DataKey
from tests.live.inside import Inside, founded, identified, linked, merged, new_id, tracked

EVENTS = 100_000
IDENTIFIERS = 10_000
MERGES = 1_000
EACH = IDENTIFIERS // MERGES  # identifiers of each of those who were merged
PLANS = 40  # were said of her, by as many of those, one after the other
STEP_US = 60 * SECOND
TIMEOUT_S = 30
AUDIT = PurposeDefined(
    request_id="a",
    name="audit",
    version=1,
    description="",
    legal_basis="legal_obligation",
    traits=(ALL_TRAITS, "events"),
    despite_restriction=("legal_claims",),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def inside(servers: Stack) -> AsyncIterator[Inside]:
    inside = await Inside.open(servers)
    await inside.define(AUDIT)
    yield inside
    await inside.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def giant(inside: Inside) -> CustomerRef:
    """Its customers were merged one after the other: a chain, which is the worst way."""
    streams = [new_id() for _ in range(MERGES + 1)]
    await inside.record(_life(streams, await inside.keys(streams)))
    inside.parts.held.clear()  # as after a start
    return CustomerRef(customer_id=to_text(streams[MERGES // 2]))


def _life(streams: list[bytes], keys: dict[bytes, DataKey]) -> Iterator[Entry]:
    for number, stream in enumerate(streams):
        yield founded(stream, number)
        yield from (linked(stream, keys[stream], address(stream, n)) for n in range(EACH))
        if number:
            yield from merged(streams[number - 1], stream, number)
    for number in range(EVENTS):
        stream = streams[0 if number % 2 else number % len(streams)]
        source, named = "web" if number % 1_000 else "shop", address(stream, number // len(streams) // 2 % EACH)
        yield tracked(stream, keys[stream], number * STEP_US, f"Step {number % 5}", source, [named])
    for number in range(PLANS):
        yield identified(streams[number], keys[streams[number]], number * STEP_US, plan=f"plan {number}")


def address(stream: bytes, number: int) -> str:
    return f"{number}.{stream.hex()}@shop.example"
