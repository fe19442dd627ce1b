"""Laws of reading the log instant by instant: all of it, once, in order, whole instants only, wherever it is interrupted."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any, cast
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from services.profile import instants
from services.profile.instants import Instants, whole_instants
from shared.events.catalogue import Entry
from shared.log import LogReader, Record

PARTITIONS = 3


class MemoryLog:
    """Of the reader, what is asked of it here."""

    def __init__(self, records: Mapping[int, list[Record]]) -> None:
        self.records = records

    async def partition(self, partition: int, first: int, limit: int, last: int) -> list[Record]:
        return self.records[partition][first : min(first + limit, last + 1)]


@st.composite
def logs(draw: st.DrawFn) -> dict[int, list[Record]]:
    """Transactions, one after the other: how many events each has in each partition."""
    transactions = draw(st.lists(st.lists(st.integers(0, 5), min_size=PARTITIONS, max_size=PARTITIONS), max_size=12))
    records: dict[int, list[Record]] = {partition: [] for partition in range(PARTITIONS)}
    for instant, counts in enumerate(transactions, start=1):
        for partition, count in enumerate(counts):
            for _ in range(count):
                entry = Entry(b"s" * 16, bytes(16), "customer.tracked", 1, 0, b"")
                records[partition].append(Record(partition, len(records[partition]), 1, instant, entry))
    return records


async def read(records: Mapping[int, list[Record]], first: Mapping[int, int], page: int) -> list[Instants]:
    end = {partition: len(found) for partition, found in records.items()}
    with patch.object(instants, "PAGE_EVENTS", page):
        return [found async for found in whole_instants(cast(LogReader, MemoryLog(records)), first, end)]


def in_order(records: Mapping[int, list[Record]]) -> list[Record]:
    return sorted((r for found in records.values() for r in found), key=lambda r: (r.recorded_at, r.partition, r.pos))


START: Any = dict.fromkeys(range(PARTITIONS), 0)


@given(logs(), st.integers(1, 7))
async def test_everything_comes_once_and_in_order_whatever_the_page(records: dict[int, list[Record]], page: int) -> None:
    pages = await read(records, START, page)
    assert [record for found in pages for record in found.records] == in_order(records)


@given(logs(), st.integers(1, 7))
async def test_an_instant_is_never_cut(records: dict[int, list[Record]], page: int) -> None:
    of_page = [{record.recorded_at for record in found.records} for found in await read(records, START, page)]
    assert sum(len(instants_of) for instants_of in of_page) == len(set().union(*of_page)) if of_page else True


@given(logs(), st.integers(1, 7), st.integers(1, 7), st.data())
async def test_who_goes_on_where_a_page_ended_gets_the_rest(
    records: dict[int, list[Record]], page: int, other_page: int, data: st.DataObject
) -> None:
    pages = await read(records, START, page)
    taken = data.draw(st.integers(0, len(pages)))
    first = pages[taken - 1].next_positions if taken else START
    before = [record for found in pages[:taken] for record in found.records]
    after = [record for found in await read(records, first, other_page) for record in found.records]
    assert before + after == in_order(records)


@given(logs(), st.integers(1, 7))
async def test_a_page_is_bounded_by_what_one_instant_has(records: dict[int, list[Record]], page: int) -> None:
    largest = max(
        (len(list(group)) for found in records.values() for _, group in groupby(found, lambda r: r.recorded_at)), default=0
    )
    for found in await read(records, START, page):
        assert len(found.records) <= PARTITIONS * max(page, 2 * (largest + 1))
