"""Reads the customer log instant by instant: what became known together is given together, whatever partitions it is in.

A transaction of the writer has one recorded instant in all partitions, and instants rise (`shared.log.writer`); so the log has one
order beyond its partitions, and its state between two instants is one that readers could have seen.
"""

from collections.abc import AsyncGenerator, Mapping

import msgspec

from shared.log import LogReader, Record

PAGE_EVENTS = 250  # of a partition, read at once, at up to 96 KB each; more only where one instant has more


class Instants(msgspec.Struct, frozen=True):
    """Whole instants, by time, then partition and position; `next_positions` is where the next one begins, by partition."""

    records: list[Record]
    next_positions: dict[int, int]

    @property
    def begins_at(self) -> int:
        return self.records[0].recorded_at


async def whole_instants(reader: LogReader, first: Mapping[int, int], end: Mapping[int, int]) -> AsyncGenerator[Instants, None]:
    """From positions `first` up to, and without, positions `end`, both by partition and both between two instants."""
    at = dict(first)  # of each partition, what is to be read next
    waiting: dict[int, list[Record]] = {partition: [] for partition in first}
    given = dict(first)
    at_most = PAGE_EVENTS
    while True:
        for partition, records in waiting.items():
            if at[partition] < end[partition] and len(records) < at_most:
                records.extend(await reader.partition(partition, at[partition], at_most - len(records), end[partition] - 1))
                at[partition] = records[-1].pos + 1
        ready = _ready(waiting, {partition for partition in at if at[partition] < end[partition]})
        if ready:
            given |= {record.partition: record.pos + 1 for record in ready}
            yield Instants(ready, dict(given))
            at_most = PAGE_EVENTS
        elif any(waiting.values()):
            at_most *= 2
        else:
            return


def _ready(waiting: dict[int, list[Record]], unfinished: set[int]) -> list[Record]:
    """Takes out what is before the last instant read of every partition that goes on: of that one more may come."""
    horizon = min((waiting[partition][-1].recorded_at for partition in unfinished), default=None)
    ready = []
    for partition, records in waiting.items():
        count = len(records) if horizon is None else sum(1 for record in records if record.recorded_at < horizon)
        ready += records[:count]
        waiting[partition] = records[count:]
    ready.sort(key=lambda record: (record.recorded_at, record.partition, record.pos))
    return ready
