"""How a profile came to be: every change of it, in the order in which our log learnt of them or in which they happened.

Each change is what differs between one instant and the next at which anything came or at which the passing of time, or a decision,
may have changed anything (`domain.diff`), by the rules of the last one.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from itertools import groupby

import msgspec

from services.profile.app import Instant, Profiles
from services.profile.choosing import THEN, Chooser, RulesChoice
from services.profile.clusters import joined, unknown
from services.profile.course import Course, Pause, Step, Walk
from services.profile.domain.causes import Passing
from services.profile.domain.clocks import Order
from services.profile.domain.diff import ByEvent, Change, Side, Wanted, compare
from services.profile.domain.fold import happened_by
from services.profile.domain.happening import Happening
from services.profile.domain.lineage import ever_reachable
from services.profile.domain.rules import Rules
from services.profile.domain.state import fork, reachable
from services.profile.pauses import Begun, Pauses
from services.profile.sides import Sides, as_of_their_events
from services.profile.tables.history import History
from services.profile.tables.snapshots import NEVER, Past
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.log import LogReader, Record
from shared.log.reader import Happened
from shared.pieces import AT_ONCE, Pieces
from shared.vault import DataKey, Vault

EVENTS_A_PAGE = 2_000  # walked through at most: some hundred milliseconds
INSTANTS_A_PAGE = 500  # at which all is looked at, segments too: about a millisecond each

LOOKS_S = 0.15  # of a customer of a thousand who are one each look takes ten milliseconds; then a page ends with what it has

EVERYTHING = Wanted(said_again=True)

Place = tuple[int, bytes]  # the instant to begin at, and how many of its changes were told


class Told(msgspec.Struct, frozen=True):
    """A change, when it came by the clock that was walked along, and where to go on after it."""

    at: int
    change: Change
    place: Place

    def __repr__(self) -> str:
        return "<Told sealed>"


class Walked(msgspec.Struct, frozen=True):
    """`rest`: where to go on; None at the end. There may be nothing told, and a rest all the same. `unnamed` as of `Compared`.

    `redacted`: at some instant it isn't told what was computed, or which segments she was in. `not_all_kept`: as of Side, at some.
    """

    told: list[Told]
    rest: Place | None
    rules: Rules
    unnamed: Set[bytes]
    redacted: bool
    not_all_kept: bool


class Walks:
    def __init__(
        self,
        profiles: Profiles,
        chooser: Chooser,
        history: History,
        sides: Sides,
        reader: LogReader,
        vault: Vault,
        partitions: int,
        pauses: Pauses,
    ) -> None:
        self._profiles = profiles
        self._chooser = chooser
        self._history = history
        self._sides = sides
        self._reader = reader
        self._vault = vault
        self._partitions = partitions
        self._pauses = pauses

    async def page(
        self,
        customer: bytes,
        purpose: PurposeDefined,
        order: Order,
        until: Instant,
        after: Place | None,
        limit: int,
        choice: RulesChoice = THEN,
        wanted: Wanted = EVERYTHING,
    ) -> Walked:
        """About `limit` changes, whole instants of them. Raises what `Profiles.profile` does."""
        erased = await self._profiles.permit_past(customer, purpose)
        until = await self._profiles.settled(until)
        walk = Walk(customer, order, until, self._chooser.rules(choice, until.known_at), erased)
        if after is None:  # there may be nothing to tell of
            (await self._profiles.cluster_as_of(customer, until, choice)).held(customer)
        history, start = self._history.of(walk.rules.keeping), max(after[0] - 1, NEVER) if after else NEVER
        begun = await self._begun(walk, history)
        await self._profiles.permit_others(begun.versions, purpose)
        pause, keys = await self._resumed(walk, history, begun, start), await self._vault.keys(begun.versions)
        told, course, old = list[Told](), Course(walk, pause), await self._side(walk, pause.past, start)
        looked, redacted, not_all_kept = 0, old.redacted, old.not_all_kept
        clock = asyncio.get_running_loop().time
        ends = clock() + LOOKS_S
        while len(told) < limit and looked < INSTANTS_A_PAGE and (clock() < ends or not looked) and (step := course.next(old)):
            begun.pauses, past = [pause], dict(pause.past)
            changes, new = await self._step(walk, history, past, keys, old, step, course.is_last)
            told += [one for one in _told(step.at, changes, after) if wanted.has(one.change)]
            looked, old, redacted = looked + (new is not old), new, redacted or new.redacted
            not_all_kept |= new.not_all_kept
            pause = course.pause(past)
            await asyncio.sleep(0)  # reads go on meanwhile
        begun.pauses = [*begun.pauses, pause]
        rest = None if course.is_last else (course.at + 1, b"")
        return Walked(told, rest, walk.rules, await self._profiles.unnamed(customer, begun.versions), redacted, not_all_kept)

    async def _begun(self, walk: Walk, history: History) -> Begun:
        """Walks that go on, page by page, aren't begun anew, unless anything came meanwhile."""
        begun = self._pauses.find(walk)
        if begun is not None and begun.versions == await self._versions(begun.versions, walk):
            return begun
        return self._pauses.begin(walk, await self._versions(await self._streams(walk, history), walk))

    async def _versions(self, streams: Collection[bytes], walk: Walk) -> dict[bytes, int]:
        """How far each had come by the end."""
        return await self._reader.versions_by(self._placed(streams), walk.until.known_at)

    async def _resumed(self, walk: Walk, history: History, begun: Begun, start: int) -> Pause:
        """What is known at an instant, and what comes next."""
        pause = begun.at(start)
        if pause is not None and pause.is_read:
            return pause
        point = walk.point(start)
        past = await history.past(begun.versions, point.valid_at, point.known_at) if pause is None else pause.past
        records, complete = await self._records(walk, begun.versions, start)
        return Pause(start, past, [Step(at, list(group)) for at, group in groupby(records, walk.at)], complete)

    def _placed(self, streams: Collection[bytes]) -> list[tuple[int, bytes]]:
        return [(partition_of(stream, self._partitions), stream) for stream in streams]

    async def _step(
        self,
        walk: Walk,
        history: History,
        past: dict[bytes, Past],
        keys: Mapping[bytes, DataKey],
        old: Side,
        step: Step,
        is_last: bool,
    ) -> tuple[list[Change], Side]:
        """What time and decisions changed by then, and then what came. Of the last step also what clocks say."""
        changes: list[Change] = []
        if old.next_at is not None and old.next_at <= step.at:
            passed = await self._side(walk, past, step.at)
            changes, old = compare(old, passed, Passing(old, passed)).all, passed
        happened = [record for record in step.records if happened_by(record.entry, walk.until.valid_at)]
        await add(history, past, happened, keys, Pieces(AT_ONCE))
        known = past.keys() if old.redacted else keys
        if happened and not (
            old.told and not walk.rules.computed and not any(_changes_a_record(one, past, known) for one in happened)
        ):
            new = await self._side(walk, past, step.at)
            changes += compare(old, new, Happening(walk.customer, old, new, map(_event, happened))).all
            old = new
        if is_last:
            new = await self._side(walk, past, step.at, clocks=True)
            changes, old = changes + compare(old, new, Passing(old, new)).all, new
        return changes, old

    async def _streams(self, walk: Walk, history: History) -> list[bytes]:
        """Of those who are one at the end, whatever is walked along; along what became known, of those who ever were, too."""
        known_at = walk.until.known_at
        if walk.order == "happened":
            return (await self._profiles.members(walk.customer, known_at))[0]
        load = lambda streams: history.states(streams, known_at)  # noqa: E731
        if found := await joined([walk.customer], load, self._profiles.states_now, ever_reachable):
            return list(found)
        raise unknown(walk.customer)

    async def _records(self, walk: Walk, streams: Collection[bytes], start: int) -> tuple[list[Record], bool]:
        """Whole instants after `start`, in order; whether they are all."""
        placed = self._placed(streams)
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

    async def _side(self, walk: Walk, past: Mapping[bytes, Past], at: int, *, clocks: bool = False) -> Side:
        members = {member: past[member] for member in _members(walk.customer, past)}
        side = await self._sides.of(walk.customer, members, walk.rules, walk.point(at), along=walk.order, erased=walk.erased)
        return side if clocks else as_of_their_events(side)


async def add(
    history: History, past: dict[bytes, Past], records: Iterable[Record], keys: Mapping[bytes, DataKey], turns: Pieces
) -> None:
    """What was there stays as it is for whoever compares. Of one instant there may be as many as there are events."""
    touched: set[bytes] = set()
    for record in records:
        stream = record.entry.stream
        if stream not in touched:
            touched.add(stream)
            before = past.get(stream, Past())
            held = msgspec.structs.replace(before.held, state=fork(before.held.state))
            past[stream] = msgspec.structs.replace(before, held=held)
        history.add(past[stream], record, keys.get(stream))
        await turns.done(1)


def _members(customer: bytes, past: Mapping[bytes, Past]) -> set[bytes]:
    members = {customer} & past.keys()
    while missing := (reachable(past[member].held.state for member in members) & past.keys()) - members:
        members |= missing
    return members


def _changes_a_record(record: Record, past: Mapping[bytes, Past], readable: Collection[bytes]) -> bool:
    """Unless it says nothing of a trait, names no identifier for the first time, and is of a stream that is readable."""
    entry = record.entry
    if entry.type_id not in events.ACTIVITY_IDS or entry.type_id == events.IDENTIFIED.id or entry.stream not in readable:
        return True
    public, named = entry.public(), past[entry.stream].held.state.named
    return any(named.get(value_hash) == entry.occurred_at for value_hash in (public.resolved_by, *public.also_named))


def _told(at: int, changes: Sequence[Change], after: Place | None) -> Iterable[Told]:
    skipped = int.from_bytes(after[1]) if after and after[0] == at else 0
    return [Told(at, change, (at, number.to_bytes(4))) for number, change in enumerate(changes, start=1) if number > skipped]


def _event(record: Record) -> ByEvent:
    return ByEvent(record.entry, record.entry.public(), record.recorded_at, record.partition, record.pos, undone=False)
