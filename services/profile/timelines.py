"""Reads of what happened, over all members of a cluster."""

from collections.abc import Collection
from typing import Any

import msgspec

from services.profile.app import Instant, Profiles
from shared.log import Record
from shared.vault import Vault


class TimelineItem(msgspec.Struct, frozen=True):
    """`personal` is what the envelope held: a Personal, REDACTED, or None for kinds that have none.

    `other` is the other customer of a merge, split or proposal, unless it was erased and this one wasn't.
    """

    kind: str
    record: Record
    public: Any
    personal: Any
    other: bytes | None = None


class Timelines:
    """Reads of what happened, over all members of a cluster."""

    def __init__(self, profiles: Profiles, vault: Vault) -> None:
        self._profiles = profiles
        self._vault = vault

    async def page(
        self, customer: bytes, instant: Instant, kinds: Collection[str], before: tuple[int, bytes] | None, limit: int
    ) -> list[TimelineItem]:
        """Latest first, before the place given."""
        _, records = await self._profiles.replay(customer, instant)
        wanted = [
            record
            for record in records
            if (not kinds or record.entry.kind in kinds) and (before is None or place_in_time(record) < before)
        ]
        wanted.sort(key=place_in_time, reverse=True)
        page = wanted[:limit]
        keys = await self._vault.keys({record.entry.stream for record in page})
        erased = await self._profiles.erased_among([end for record in page for end in _ends(record)])
        items = []
        for record in page:
            other = next((end for end in _ends(record)[1:] if end not in erased or record.entry.stream in erased), None)
            parts = record.entry.parts(keys.get(record.entry.stream))
            items.append(TimelineItem(record.entry.kind, record, *parts, other))
        return items


def _ends(record: Record) -> list[bytes]:
    """Of what is told to two customers: both, its own first; of all else none."""
    other = getattr(record.entry.public(), "other", None)
    return [] if other is None else [record.entry.stream, other]


def place_in_time(record: Record) -> tuple[int, bytes]:
    """(Occurred at, 16 bytes that sort by when and where it was recorded): total, and among equal instants in order of arrival."""
    recorded = record.recorded_at.to_bytes(8) + record.partition.to_bytes(2) + record.pos.to_bytes(6)
    return record.entry.occurred_at, recorded
