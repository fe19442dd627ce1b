"""Timelines on a real PostgreSQL: a page read where it stands in the log is what the whole history, sorted and filtered, has there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.profile.app import Instant
from services.profile.enforcement import release_event
from services.profile.tables.history import counts
from services.profile.timelines import Filter, place_of
from services.stack.stack import Stack
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import Record
from tests.live.inside import Inside, founded, identified, linked, merged, new_id, tracked
from tests.properties.people_read import purpose

KINDS = ["founded", "linked", "tracked", "identified", "merged", "nonsense"]
SOURCES = ["web", "shop"]
NAMES = ["Page Read", "Order Completed"]
LAST = 30  # instants are 0 to this

moments = st.integers(0, LAST)
filters = st.builds(
    Filter,
    st.frozensets(st.sampled_from(KINDS), max_size=2),
    st.frozensets(st.sampled_from([*SOURCES, "nobody"]), max_size=2),
    st.frozensets(st.sampled_from(NAMES), max_size=1),
    since=st.one_of(st.just(-(2**63)), moments),
    until=st.one_of(st.just(END_OF_TIME), moments),
)
happenings = st.lists(
    st.tuples(st.integers(0, 1), moments, st.sampled_from([None, *NAMES]), st.sampled_from(SOURCES)), min_size=1, max_size=12
)
purposes = st.sampled_from([purpose("contract"), purpose("contract", "city")])  # the second doesn't see what events are called


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def inside(servers: Stack) -> AsyncIterator[Inside]:
    inside = await Inside.open(servers)
    inside.confirm_consent()
    yield inside
    await inside.close()


async def write(inside: Inside, happened: list[tuple[int, int, str | None, str]], join: bool) -> tuple[list[bytes], Any]:
    """Two customers, maybe merged, and what they did."""
    streams = [new_id(), new_id()]
    keys = await inside.keys(streams)
    births = [founded(stream, number, LAST) for number, stream in enumerate(streams)]  # founded late: by the first event that came
    links = [linked(stream, keys[stream], stream.hex(), at=LAST) for stream in streams]
    links += [tracked(stream, keys[stream], 0, "Page Read", naming=[stream.hex()]) for stream in streams]
    await inside.record([*births, *links, *(merged(streams[0], streams[1], 1, LAST) if join else ())])

    async def more(happened: list[tuple[int, int, str | None, str]]) -> None:
        await inside.record(
            identified(streams[who], keys[streams[who]], at, source, city=f"city {at}")
            if name is None
            else tracked(streams[who], keys[streams[who]], at, name, source)
            for who, at, name, source in happened
        )

    await more(happened)
    return streams, more


def places(members: list[bytes]) -> list[tuple[int, bytes]]:
    return [(partition_of(member, 4), member) for member in members]


async def naive(inside: Inside, customer: bytes, instant: Instant, wanted: Filter, purpose: PurposeDefined) -> list[Record]:
    """By the whole history replayed."""
    members, _ = await inside.parts.profiles.members(customer, instant.known_at)
    records = [one for one in await inside.reader.streams(places(members)) if counts(one, instant.valid_at, instant.known_at)]
    keys = await inside.vault.keys({record.entry.stream for record in records})

    def takes(record: Record) -> bool:
        public, personal = record.entry.parts(keys[record.entry.stream])
        return (
            (not wanted.kinds or record.entry.kind in wanted.kinds)
            and (not wanted.sources or getattr(public, "source", None) in wanted.sources)
            and (not wanted.names or release_event(public, personal, purpose).name in wanted.names)
            and wanted.since <= record.entry.occurred_at <= wanted.until
        )

    return sorted(filter(takes, records), key=place_of, reverse=True)


@settings(max_examples=settings().max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happenings, happenings, st.booleans(), filters, purposes, moments, st.integers(1, 5))
async def test_pages_are_the_history_sorted_and_filtered_and_stay_so_while_events_arrive(
    inside: Inside,
    happened: list[tuple[int, int, str | None, str]],
    later: list[tuple[int, int, str | None, str]],
    join: bool,
    wanted: Filter,
    purpose: PurposeDefined,
    valid_at: int,
    size: int,
) -> None:
    streams, more = await write(inside, happened, join)
    instant = Instant(valid_at=valid_at)
    expected = await naive(inside, streams[0], instant, wanted, purpose)
    paged: list[Record] = []
    before = None
    while True:
        stretch = await inside.parts.timelines.page(streams[0], instant, purpose, wanted, before, size)
        assert len(stretch.items) <= size
        paged += [item.record for item in stretch.items]
        if stretch.rest is None:
            break
        before = stretch.rest
        if later:
            await more([later.pop()])
    assert [record for record in paged if record in expected] == expected, "each once, in order, whatever came meanwhile"
    whole = await inside.parts.timelines.page(streams[0], instant, purpose, wanted, None, 1_000)
    assert [item.record for item in whole.items] == await naive(inside, streams[0], instant, wanted, purpose)
