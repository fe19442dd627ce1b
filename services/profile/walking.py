"""How a golden record came to be: every change of it, in the order in which our log learnt of them or in which they happened.

Each change is what differs between one instant and the next at which anything came (`domain.diff`), by the rules of the last one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal

import msgspec

from services.profile.app import Instant, Profiles
from services.profile.choosing import THEN, Chooser, RulesChoice
from services.profile.clusters import unknown
from services.profile.domain.diff import Cause, Change, Difference, Side, difference
from services.profile.domain.fold import happened_by
from services.profile.domain.rules import Rules
from services.profile.domain.state import fork, reachable
from services.profile.tables.history import History
from services.profile.tables.snapshots import NEVER, Past
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.log import LogReader, Record
from shared.log.reader import Happened
from shared.vault import DataKey, Vault

EVENTS_A_PAGE = 2_000  # walked through at most: some hundred milliseconds

Order = Literal["known", "happened"]
Place = tuple[int, bytes]  # the instant to begin at, and how many of its changes were told


class Told(msgspec.Struct, frozen=True):
    """A change, when it came by the clock that was walked along, and where to go on after it."""

    at: int
    change: Change
    place: Place

    def __repr__(self) -> str:
        return "<Told sealed>"


class Walked(msgspec.Struct, frozen=True):
    """`rest`: where to go on; None at the end. There may be nothing told, and a rest all the same."""

    told: list[Told]
    rest: Place | None


class Walk(msgspec.Struct, frozen=True):
    """What is walked along: one clock up to an instant, while the other stands still."""

    customer: bytes
    order: Order
    until: Instant
    rules: Rules

    def point(self, at: int) -> Instant:
        return Instant(self.until.valid_at, at) if self.order == "known" else Instant(at, self.until.known_at)

    def at(self, record: Record) -> int:
        return record.recorded_at if self.order == "known" else record.entry.occurred_at


class Walks:
    def __init__(
        self, profiles: Profiles, chooser: Chooser, history: History, reader: LogReader, vault: Vault, partitions: int
    ) -> None:
        self._profiles = profiles
        self._chooser = chooser
        self._history = history
        self._reader = reader
        self._vault = vault
        self._partitions = partitions

    async def page(
        self,
        customer: bytes,
        purpose: PurposeDefined,
        order: Order,
        until: Instant,
        after: Place | None,
        limit: int,
        choice: RulesChoice = THEN,
    ) -> Walked:
        """About `limit` changes, whole instants of them. Raises what `Profiles.profile` does."""
        await self._profiles.permit_past(customer, purpose)
        until = await self._profiles.settled(until)
        walk = Walk(customer, order, until, self._chooser.rules(choice, until.known_at))
        if after is None:
            await self._profiles.as_of(customer, until, choice)  # else there is nothing to tell of
        history, start = self._history.of(walk.rules.keeping), max(after[0] - 1, NEVER) if after else NEVER
        streams = await self._streams(walk, history)
        await self._profiles.permit_others(streams, purpose)
        point = walk.point(start)
        past = await history.past(streams, point.valid_at, point.known_at)
        records, complete = await self._records(walk, streams, start)
        keys = await self._vault.keys(streams)
        told: list[Told] = []
        old = await self._side(walk, past, point)
        for at, group in groupby(records, walk.at):
            happened = [record for record in group if happened_by(record.entry, until.valid_at)]
            add(history, past, happened, keys)
            if old.told and not walk.rules.computed and not any(map(_changes_a_record, happened)):
                continue
            new = await self._side(walk, past, walk.point(at))
            told += _told(at, difference(customer, old, new, map(_cause, happened)), after)
            old = new
            if len(told) >= limit:
                return Walked(told, (at + 1, b""))
        return Walked(told, None if complete else (walk.at(records[-1]) + 1, b""))

    async def _streams(self, walk: Walk, history: History) -> list[bytes]:
        """Of those who are one at the end, whatever is walked along; along what became known, of those who ever were, too."""
        known_at = walk.until.known_at
        if walk.order == "happened":
            return (await self._profiles.members(walk.customer, known_at))[0]
        found = await history.states([walk.customer], known_at)
        if not found:
            raise unknown(walk.customer)
        held = dict(found)
        while missing := {other for one in found.values() for other in one.state.edges.values()} - held.keys():
            found = await history.states(missing, known_at)
            held |= found
        return list(held)

    async def _records(self, walk: Walk, streams: Collection[bytes], start: int) -> tuple[list[Record], bool]:
        """Whole instants after `start`, in order; whether they are all."""
        placed = [(partition_of(stream, self._partitions), stream) for stream in streams]
        valid_at, known_at = walk.until.valid_at, walk.until.known_at

        async def read(first: int, last: int, limit: int) -> list[Record]:
            if walk.order == "known":
                return await self._reader.learnt(placed, first, last, limit)
            which = Happened(valid_at=last, known_at=known_at, since=first, types=events.TIMED_IDS, earliest_first=True)
            return await self._reader.happened(placed, which, limit)

        last = known_at if walk.order == "known" else valid_at
        records = await read(start + 1, last, EVENTS_A_PAGE + 1)
        if len(records) <= EVENTS_A_PAGE:
            return records, True
        cut = walk.at(records[-1])
        whole = [record for record in records if walk.at(record) < cut]
        return whole or await read(cut, cut, 2**31), False

    async def _side(self, walk: Walk, past: Mapping[bytes, Past], point: Instant) -> Side:
        members = _members(walk.customer, past)
        states = {member: past[member].held.state for member in members}
        if all(past[member].latest_at == NEVER for member in members):
            return Side(states=states)
        held = {walk.customer: {member: past[member].held for member in members}}
        record = (await self._chooser.records(held, walk.rules, point.earlier))[walk.customer]
        [verified] = await self._chooser.verified([record], point.earlier)
        return Side(True, record.traits, verified, record.identifiers, states)


def add(history: History, past: dict[bytes, Past], records: Iterable[Record], keys: Mapping[bytes, DataKey]) -> None:
    """What was there stays as it is for whoever compares."""
    touched: set[bytes] = set()
    for record in records:
        stream = record.entry.stream
        if stream not in touched:
            touched.add(stream)
            before = past.get(stream, Past())
            held = msgspec.structs.replace(before.held, state=fork(before.held.state))
            past[stream] = msgspec.structs.replace(before, held=held)
        history.add(past[stream], record, keys.get(stream))


def _members(customer: bytes, past: Mapping[bytes, Past]) -> set[bytes]:
    members = {customer} & past.keys()
    while missing := (reachable(past[member].held.state for member in members) & past.keys()) - members:
        members |= missing
    return members


def _changes_a_record(record: Record) -> bool:
    return record.entry.type_id not in events.ACTIVITY_IDS or record.entry.type_id == events.IDENTIFIED.id


def _told(at: int, found: Difference, after: Place | None) -> Iterator[Told]:
    changes: Sequence[Change] = [*found.members, *found.identifiers, *found.traits]
    skipped = int.from_bytes(after[1]) if after and after[0] == at else 0
    for number, change in enumerate(changes, start=1):
        if number > skipped:
            yield Told(at, change, (at, number.to_bytes(4)))


def _cause(record: Record) -> Cause:
    return Cause(record.entry, record.entry.public(), record.recorded_at, record.partition, record.pos, undone=False)
