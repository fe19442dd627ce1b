"""What became known, as a data lake keeps it: instant by instant, each customer asked as at any other read."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import groupby

import msgspec

from services.profile.exports import EXPORTS_AT_MOST, Exported
from services.profile.instants import whole_instants
from services.profile.new_rules import NewRules, Place
from services.profile.sweep import Canonical, Link, Opened, Sweep, Told, Traits
from services.profile.visibility import Visibility, Visible
from shared.errors import InvalidInput, LimitExceeded, WrongState
from shared.events import customer as events
from shared.events.catalogue import CATALOGUE
from shared.events.consent import PurposeDefined
from shared.events.profile_rules import PROFILE_RULES_ACTIVATED
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record
from shared.vault import Vault

CHECKED_AT_MOST = 1_000  # customers of one call, whose states are loaded together


class Erased(msgspec.Struct, frozen=True):
    """Whatever was exported of this customer has to go."""

    customer: bytes


class Because(msgspec.Struct, frozen=True):
    """What was told, and the event that it follows from, where that was recorded at the same instant."""

    told: Told
    cause_id: bytes
    cause: Opened | None

    def __repr__(self) -> str:
        return f"<Because {type(self.told).__name__} sealed>"


Change = Exported | Erased | Because


class ChangePage(msgspec.Struct, frozen=True):
    """The changes of whole instants; how much of the log was read so far, will be, and how many events were withheld so far.

    With a `place` it is amid the instant at which rules came into force: `next_positions` is where that begins, and of so many `streams`
    those up to the place are told of.
    """

    changes: list[Change]
    next_positions: dict[int, int]
    read: int
    total: int
    withheld: int
    place: Place | None = None
    streams: int = 0

    def __repr__(self) -> str:
        return f"<ChangePage {len(self.changes)} sealed>"


class Changes:
    def __init__(
        self,
        visibility: Visibility,
        sweep: Callable[[], Sweep],
        new_rules: NewRules,
        reader: LogReader,
        vault: Vault,
        settle: Callable[[int], Awaitable[int]],
        partitions: int,
    ) -> None:
        self._visibility = visibility
        self._sweep = sweep
        self._new_rules = new_rules
        self._reader = reader
        self._vault = vault
        self._settle = settle
        self._partitions = partitions
        self._running = 0

    async def read(
        self, purpose: PurposeDefined, positions: Mapping[int, int], place: Place | None = None
    ) -> AsyncGenerator[ChangePage, None]:
        """From `positions`, by partition, on; of what is there, from behind the place. Raises InvalidInput (POSITION_INVALID),
        WrongState (LOG_SHORTER), LimitExceeded (EXPORTS_BUSY), Unavailable, EnvelopeBroken."""
        if self._running >= EXPORTS_AT_MOST:
            raise LimitExceeded("other exports are running; try again later", reason="EXPORTS_BUSY", limit=EXPORTS_AT_MOST)
        self._running += 1
        try:
            first, end = await self._stretch(positions)
            sweep, told = self._sweep(), ChangePage([], first, 0, sum(end.values()) - sum(first.values()), 0, place)
            yield told
            async with aclosing(whole_instants(self._reader, first, end)) as pages:
                async for page in pages:
                    for activated, records in groupby(page.records, _activated):
                        if place is not None and place.version != activated:
                            raise InvalidInput("no rules come into force there", reason="POSITION_INVALID", version=place.version)
                        async with aclosing(self._pages(list(records), purpose, sweep, told, place)) as found:
                            async for told in found:
                                yield told
                        place = None
        finally:
            self._running -= 1

    async def _pages(
        self, records: Sequence[Record], purpose: PurposeDefined, sweep: Sweep, before: ChangePage, place: Place | None
    ) -> AsyncGenerator[ChangePage, None]:
        """Of what was recorded behind `before`: an activation, or instants without one."""
        if not _activated(records[0]):
            changes, withheld = await self._changes(records, purpose, sweep)
            yield _behind(before, records, changes, withheld)
            return
        opened, streams = Opened(records[0], records[0].entry.public(), None), await self._new_rules.count()
        async with aclosing(self._new_rules.changed(opened, purpose, place)) as pages:
            async for found, reached in pages:
                because = [Because(one, records[0].entry.event_id, None) for one in found]
                changes, _ = await self._allowed(because, purpose)
                yield msgspec.structs.replace(before, changes=changes, place=reached, streams=max(streams, reached.looked_at))
        yield _behind(before, records, [], 0)

    async def refused(self, customers: Collection[bytes], purpose: PurposeDefined) -> set[bytes]:
        """Of those that were exported, whoever may not be seen any more. Raises InvalidInput (TOO_MANY_CUSTOMERS), Unavailable."""
        if len(customers) > CHECKED_AT_MOST:
            raise InvalidInput(f"at most {CHECKED_AT_MOST} customers at a time", reason="TOO_MANY_CUSTOMERS", limit=CHECKED_AT_MOST)
        return await self._visibility.refused(customers, purpose)

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

    async def _changes(self, records: Sequence[Record], purpose: PurposeDefined, sweep: Sweep) -> tuple[list[Change], int]:
        """And how many events of sources are withheld."""
        keys = await self._vault.keys({record.entry.stream for record in records})
        opened = [Opened(record, *record.entry.parts(keys.get(record.entry.stream))) for record in records]
        await sweep.prepare(opened)
        found: list[Opened | Because] = []
        for _, group in groupby(opened, lambda one: one.record.recorded_at):
            instant = list(group)
            found += [one for one in instant if one.record.entry.type_id in _OF_THEMSELVES]
            found += _with_causes(await sweep.advance(instant), instant)
        return await self._allowed(found, purpose)

    async def _allowed(self, found: Sequence[Opened | Because], purpose: PurposeDefined) -> tuple[list[Change], int]:
        seen = await self._visibility.of({stream for one in found for stream in _about(one)}, purpose)
        return _allowed(found, seen, purpose)


def _activated(record: Record) -> int:
    """The version of the rules that came into force at its instant, at which nothing else is recorded; 0: none did."""
    return record.entry.public().version if record.entry.type_id == PROFILE_RULES_ACTIVATED.id else 0


def _behind(before: ChangePage, records: Sequence[Record], changes: list[Change], withheld: int) -> ChangePage:
    """Up to the end of these records."""
    ends = {record.partition: record.pos + 1 for record in records}
    return ChangePage(changes, before.next_positions | ends, before.read + len(records), before.total, before.withheld + withheld)


_OF_THEMSELVES = events.ACTIVITY_IDS | {events.ERASED.id}


def _with_causes(told: Iterable[Told], instant: Sequence[Opened]) -> Iterator[Because]:
    by_id = {one.record.entry.event_id: one for one in instant if isinstance(one.public, events.Activity)}
    founded_by: dict[bytes, bytes] = {}
    for linked in instant:
        if isinstance(linked.public, events.IdentifierLinked):
            founded_by.setdefault(linked.record.entry.stream, linked.public.cause)
    for one in told:
        entry, public = one.by.record.entry, one.by.public
        cause: bytes = getattr(public, "cause", b"")
        if isinstance(public, events.Activity):
            cause = entry.event_id
        elif isinstance(public, events.CustomerFounded):
            cause = founded_by.get(entry.stream, b"")
        yield Because(one, cause, by_id.get(cause))


def _about(one: Opened | Because) -> list[bytes]:
    """Streams of all who must allow it."""
    if isinstance(one, Opened):
        return [one.record.entry.stream]
    match one.told:
        case Link(by=by):
            return [by.record.entry.stream]
        case Canonical(stream=stream, canonical=canonical):
            return [stream, canonical]
        case Traits(record=record):
            return record.members


def _allowed(
    found: Iterable[Opened | Because], seen: Mapping[bytes, Visible | None], purpose: PurposeDefined
) -> tuple[list[Change], int]:
    changes: list[Change] = []
    withheld = 0
    for one in found:
        if isinstance(one, Opened) and one.record.entry.type_id == events.ERASED.id:
            changes.append(Erased(one.record.entry.stream))
            continue
        asked = [seen[stream] for stream in _about(one)]
        if any(visible is None for visible in asked):
            withheld += isinstance(one, Opened)
        elif any(visible.erased for visible in asked if visible):
            continue
        elif isinstance(one, Because):
            if not isinstance(one.told, Link) or purpose.may_see(one.told.identifier.namespace):
                changes.append(one)
        elif asked[0] is not None:
            changes.append(_exported(one, asked[0]))
    return changes, withheld


def _exported(one: Opened, visible: Visible) -> Exported:
    call = CATALOGUE[one.record.entry.type_id].call
    return Exported(call, one.record, one.public, one.personal, visible.identifiers)
