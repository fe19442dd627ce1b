"""Everybody's reads, in the order in which they were written down, a stretch of the log at a time; nothing is held between two."""

from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec

from services.profile.domain.disclosure import unpacked
from services.profile.tables.disclosures import PARTITION, DisclosureLog
from services.profile.who_read import Placed, Wanted, written_by
from shared.log import LogReader, Record

EVENTS_AT_ONCE: Final = 100  # of the log, at up to 2,000 reads of some hundred bytes
READS_AT_ONCE: Final = 1_000  # are judged together


class Stretch(msgspec.Struct, frozen=True):
    """Some reads, and how many events of how many were looked at by now."""

    reads: Sequence[Placed]
    done: int
    total: int


class AllReads:
    def __init__(self, log: DisclosureLog, reader: LogReader) -> None:
        self._log = log
        self._reader = reader

    async def stretches(self, wanted: Wanted, customers: Collection[bytes] = ()) -> AsyncGenerator[Stretch, None]:
        """Those that are wanted, and are about one of these customers, if any are named. There is a last one that is done, be there no reads."""
        first = await self._reader.position_after(PARTITION, max(wanted.since, 0) - 1)  # a read is written down after it was made
        last = await self._reader.position_after(PARTITION, written_by(wanted.until))
        at, total, members = first, max(last - first, 0), set(customers)
        while records := await self._log.between(at, last, EVENTS_AT_ONCE, members):
            at = records[-1].pos + 1
            reads = self._of(records, wanted, members)
            while found := list(islice(reads, READS_AT_ONCE)):
                yield Stretch(found, found[-1].place[0] - first, total)
        yield Stretch((), total, total)

    def _of(self, records: Sequence[Record], wanted: Wanted, members: set[bytes]) -> Iterator[Placed]:
        for record in records:
            for place, one in enumerate(unpacked(record.entry.public())):
                if wanted.takes(one) and (not members or not members.isdisjoint(one.given.members)):
                    yield Placed((record.pos, place), one)
