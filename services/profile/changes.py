"""What became known, as a data lake keeps it: instant by instant, each customer asked as at any other read."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

import msgspec

from services.profile.exports import EXPORTS_AT_MOST, Exported
from services.profile.instants import Instants, whole_instants
from services.profile.visibility import Visibility, Visible
from shared.errors import InvalidInput, LimitExceeded, WrongState
from shared.events import customer as events
from shared.events.catalogue import CATALOGUE
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record
from shared.vault import DataKey, Vault


class Erased(msgspec.Struct, frozen=True):
    """Whatever was exported of this customer has to go."""

    customer: bytes


Change = Exported | Erased


class ChangePage(msgspec.Struct, frozen=True):
    """The changes of whole instants; how much of the log was read so far, will be, and how many events were withheld so far."""

    changes: list[Change]
    next_positions: dict[int, int]
    read: int
    total: int
    withheld: int

    def __repr__(self) -> str:
        return f"<ChangePage {len(self.changes)} sealed>"


class Changes:
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

    async def read(self, purpose: PurposeDefined, positions: Mapping[int, int]) -> AsyncGenerator[ChangePage, None]:
        """From `positions`, by partition, on. Raises InvalidInput (POSITION_INVALID), WrongState (LOG_SHORTER), LimitExceeded
        (EXPORTS_BUSY), Unavailable, EnvelopeBroken."""
        if self._running >= EXPORTS_AT_MOST:
            raise LimitExceeded("other exports are running; try again later", reason="EXPORTS_BUSY", limit=EXPORTS_AT_MOST)
        self._running += 1
        try:
            first, end = await self._stretch(positions)
            total = sum(end.values()) - sum(first.values())
            read = withheld = 0
            yield ChangePage([], first, 0, total, 0)
            async with aclosing(whole_instants(self._reader, first, end)) as pages:
                async for page in pages:
                    changes, left_out = await self._changes(page, purpose)
                    read, withheld = read + len(page.records), withheld + left_out
                    yield ChangePage(changes, page.next_positions, read, total, withheld)
        finally:
            self._running -= 1

    async def _stretch(self, positions: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
        """Where to begin and where to end, by partition; nothing more will be recorded before the end."""
        if any(not 0 <= partition < self._partitions for partition in positions):
            raise InvalidInput(
                f"the log has partitions 0 to {self._partitions - 1}", reason="POSITION_INVALID", partitions=self._partitions
            )
        known_at = await self._settle(END_OF_TIME)
        first = {partition: positions.get(partition, 0) for partition in range(self._partitions)}
        end = {partition: await self._reader.position_after(partition, known_at) for partition in first}
        for partition, position in first.items():
            if position > end[partition]:
                raise WrongState("the log ends before that position", reason="LOG_SHORTER", partition=partition, end=end[partition])
        return first, end

    async def _changes(self, page: Instants, purpose: PurposeDefined) -> tuple[list[Change], int]:
        """And how many events of sources are withheld."""
        streams = {record.entry.stream for record in page.records}
        keys = await self._vault.keys(streams)
        seen = await self._visibility.of(streams, purpose)
        changes: list[Change] = []
        withheld = 0
        for record in page.records:
            if record.entry.type_id == events.ERASED.id:
                changes.append(Erased(record.entry.stream))
            elif record.entry.type_id in events.ACTIVITY_IDS:
                visible = seen[record.entry.stream]
                if visible is None:
                    withheld += 1
                elif not visible.erased:
                    changes.append(_exported(record, visible, keys))
        return changes, withheld


def _exported(record: Record, visible: Visible, keys: Mapping[bytes, DataKey]) -> Exported:
    public, personal = record.entry.parts(keys.get(record.entry.stream))
    call = CATALOGUE[record.entry.type_id].call
    return Exported(call, record, public, personal, visible.identifiers.get(public.resolved_by))
