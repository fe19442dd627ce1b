"""Who read what of a customer, and which reads a decision justified: found by index in the log of disclosures, latest first."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from services.profile.cache import LoadingCache
from services.profile.clusters import joined
from services.profile.domain.disclosure import Disclosure, unpacked
from services.profile.domain.state import Held
from services.profile.tables.disclosures import DisclosureLog
from shared.instants import END_OF_TIME, SECOND
from shared.log import Record
from shared.log.reader import BEGINNING_OF_TIME

EVENTS_AT_MOST: Final = 100  # that are opened for a page; each may hold 2,000 reads, some milliseconds
LATEST: Final = 3_600 * SECOND  # after it was made an answer is written down, or was given up long ago
NEWEST: Final = 2**63 - 1

Place = tuple[int, int]  # of an event in the log, and of a read in it


class Placed(NamedTuple):
    place: Place
    disclosure: Disclosure


class Wanted(msgspec.Struct, frozen=True):
    """Empty: all. Read from `since` on and before `until`."""

    caller: str = ""
    purpose: str = ""
    field: str = ""
    since: int = BEGINNING_OF_TIME
    until: int = END_OF_TIME

    def takes(self, disclosure: Disclosure) -> bool:
        terms = disclosure.given.terms
        return (
            self.caller in ("", disclosure.caller)
            and self.purpose in ("", terms.purpose)
            and (not self.field or self.field in terms.fields)
            and self.since <= disclosure.at < self.until
        )


def written_by(until: int) -> int:
    """When what was read before then was written down, or never."""
    return min(until, END_OF_TIME - LATEST) + LATEST


class Stretch(NamedTuple):
    """A part of a list, and the place that it goes on behind; None at its end. It may be empty and still go on."""

    found: list[Placed]
    rest: Place | None


class WhoRead:
    def __init__(self, log: DisclosureLog, states: LoadingCache[bytes, Held]) -> None:
        self._log = log
        self._states = states

    async def of_customer(self, customer: bytes, wanted: Wanted, before: Place | None, limit: int) -> Stretch:
        """Of all who are one with her now, and of her alone where nobody of that id is known."""
        members = {customer, *await joined([customer], self._states.get)}
        records = await self._log.of_customers(members, _end(before), EVENTS_AT_MOST)

        def takes(one: Disclosure) -> bool:
            return not members.isdisjoint(one.given.members) and wanted.takes(one)

        # What is read is recorded later: where events of before `since` come, no read of then follows.
        return await _stretch([one for one in records if one.recorded_at >= wanted.since], takes, before, limit)

    async def of_all(self, wanted: Wanted, before: Place | None, limit: int) -> Stretch:
        """Of everybody."""
        end = _end(before) if before else await self._log.end_by(written_by(wanted.until))
        records = await self._log.newest(end, EVENTS_AT_MOST)
        return await _stretch([one for one in records if one.recorded_at >= wanted.since], wanted.takes, before, limit)

    async def at(self, place: Place) -> Placed | None:
        record = await self._log.at(place[0])
        reads = list(unpacked(record.entry.public())) if record else []
        return Placed(place, reads[place[1]]) if place[1] < len(reads) else None

    async def of_decision(self, decision_id: bytes, before: Place | None, limit: int) -> Stretch:
        records = await self._log.of_decisions([decision_id], _end(before), EVENTS_AT_MOST)
        return await _stretch(records, lambda one: decision_id in one.given.evidence, before, limit)


def _end(before: Place | None) -> int:
    """The events up to the one that a page ended in."""
    return before[0] + 1 if before else NEWEST


async def _stretch(records: Sequence[Record], takes: Callable[[Disclosure], bool], before: Place | None, limit: int) -> Stretch:
    found: list[Placed] = []
    for record in records:
        reads = [
            Placed((record.pos, place), one)
            for place, one in enumerate(unpacked(record.entry.public()))
            if takes(one) and (before is None or (record.pos, place) < before)
        ]
        found += reversed(reads)
        if len(found) > limit:
            return Stretch(found[:limit], found[limit - 1].place)
        await asyncio.sleep(0)
    return Stretch(found, (records[-1].pos, 0) if len(records) == EVENTS_AT_MOST else None)
