"""Reads what a source sent from the log, in bulk: partition by partition, a page at a time, and nothing is held between pages.

Every customer is asked as at any other read; the caches that serve profiles are left alone.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from services.profile.domain.state import LinkedIdentifier
from services.profile.visibility import Visibility
from shared.errors import LimitExceeded
from shared.events import customer as events
from shared.events.catalogue import CATALOGUE
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record
from shared.privacy import REDACTED
from shared.vault import Vault

PAGE_EVENTS = 500  # of the log, at up to 96 KB
EXPORTS_AT_MOST = 2  # at a time: each keeps a database connection and a good part of the CPU busy


class Interval(msgspec.Struct, frozen=True):
    """What was recorded from `since` on and before `until`, in microseconds."""

    since: int = 0
    until: int = END_OF_TIME


class Exported(msgspec.Struct, frozen=True):
    """`personal` is what the envelope held, or REDACTED; `shown` are the customer's identifiers that the purpose may see, by hash."""

    kind: str
    record: Record
    public: events.Activity
    personal: Any
    shown: Mapping[bytes, LinkedIdentifier]

    @property
    def resolved_by(self) -> LinkedIdentifier | None:
        """None where the purpose may not see it or it is gone."""
        return self.shown.get(self.public.resolved_by)


class Page(msgspec.Struct, frozen=True):
    """Some events, and how many of the log were read for it so far, how many will be, and how many were withheld so far."""

    events: list[Exported]
    read: int
    total: int
    withheld: int


class Exports:
    def __init__(
        self,
        visibility: Visibility,
        reader: LogReader,
        vault: Vault,
        settle: Callable[[int], Awaitable[int]],
        partitions: int,
    ) -> None:
        self._visibility = visibility
        self._reader = reader
        self._vault = vault
        self._settle = settle
        self._partitions = partitions
        self._running = 0

    async def read(self, source: str, purpose: PurposeDefined, interval: Interval) -> AsyncGenerator[Page, None]:
        """Raises LimitExceeded (EXPORTS_BUSY), Unavailable, EnvelopeBroken."""
        if self._running >= EXPORTS_AT_MOST:
            raise LimitExceeded("other exports are running; try again later", reason="EXPORTS_BUSY", limit=EXPORTS_AT_MOST)
        self._running += 1
        try:
            stretches = await self._stretches(interval)
            total = sum(max(0, end - first) for first, end in stretches)
            read = withheld = 0
            async with aclosing(self._records(stretches)) as stretch:
                async for records in stretch:
                    found, left_out = await self._permitted(records, source, purpose)
                    read, withheld = read + len(records), withheld + left_out
                    yield Page(found, read, total, withheld)
        finally:
            self._running -= 1

    async def _stretches(self, interval: Interval) -> list[tuple[int, int]]:
        """By partition, the positions from the first of these up to, and without, the second."""
        known_at = await self._settle(interval.until - 1)
        return [
            (
                await self._reader.position_after(partition, interval.since - 1),
                await self._reader.position_after(partition, known_at),
            )
            for partition in range(self._partitions)
        ]

    async def _records(self, stretches: Sequence[tuple[int, int]]) -> AsyncGenerator[list[Record], None]:
        for partition, (first, end) in enumerate(stretches):
            position = first
            while position < end:
                records = await self._reader.partition(partition, position, PAGE_EVENTS, end - 1)
                yield records
                position = records[-1].pos + 1

    async def _permitted(self, records: Sequence[Record], source: str, purpose: PurposeDefined) -> tuple[list[Exported], int]:
        sent = [(record, record.entry.public()) for record in records if record.entry.type_id in events.ACTIVITY_IDS]
        sent = [(record, public) for record, public in sent if public.source == source]
        streams = {record.entry.stream for record, _ in sent}
        keys = await self._vault.keys(streams)
        seen = await self._visibility.of(streams, purpose)
        found = []
        for record, public in sent:
            visible = seen[record.entry.stream]
            if visible is None:
                continue
            personal = REDACTED if visible.erased else record.entry.personal(keys.get(record.entry.stream))
            found.append(Exported(CATALOGUE[record.entry.type_id].call, record, public, personal, visible.identifiers))
        return found, len(sent) - len(found)
