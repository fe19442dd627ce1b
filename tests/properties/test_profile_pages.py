"""What came while views are made anew is taken unit by unit, however it is cut into pages."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from services.profile.making import whole_units
from shared.events.catalogue import Entry
from shared.log import Record

PARTITIONS = 3
units = st.lists(st.lists(st.integers(0, PARTITIONS - 1), min_size=1, max_size=6), max_size=25)


@given(units, st.integers(1, 7))
def test_pages_are_whole_units_in_their_order_until_nothing_is_left(units: list[list[int]], limit: int) -> None:
    """`units`: of each event of each unit the partition."""
    log: dict[int, list[Record]] = {partition: [] for partition in range(PARTITIONS)}
    for recorded_at, parts in enumerate(units):
        for partition in parts:
            log[partition].append(Record(partition, len(log[partition]), 1, recorded_at, Entry(b"", b"", "", 1, 0, b"")))
    since, taken = dict.fromkeys(log, 0), list[int]()
    while any(since[p] < len(log[p]) for p in log):
        wanted, page = limit, list[Record]()
        while not page:
            page = whole_units({p: log[p][first : first + wanted] for p, first in since.items()}, wanted)
            wanted *= 2
        page.sort(key=lambda record: record.recorded_at)
        for recorded_at, unit in groupby(page, key=lambda record: record.recorded_at):
            assert sorted(record.partition for record in unit) == sorted(units[recorded_at])
            taken.append(recorded_at)
        for record in page:
            assert since[record.partition] == record.pos, "without a gap"
            since[record.partition] += 1
    assert taken == list(range(len(units)))
