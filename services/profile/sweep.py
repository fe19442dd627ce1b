"""Goes through the log instant by instant and tells how who is who, and what is known of them, changed at each.

What it tells is what reads as known at that instant would have told: the states are folded by the same code, as the log then was.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from services.profile.domain.fold import evolve
from services.profile.domain.golden import GoldenRecord, golden_record
from services.profile.domain.lineage import canonicals
from services.profile.domain.state import LinkedIdentifier, State, reachable
from services.profile.tables.history import History
from shared.events import customer as events
from shared.log import Record

KEPT_STREAMS = 20_000  # states, a few KB each; others are folded again when they come


class Opened(msgspec.Struct, frozen=True):
    """An event with its parts in readable form; `personal` is REDACTED when its key is gone."""

    record: Record
    public: Any
    personal: Any

    def __repr__(self) -> str:
        return f"<Opened {self.record.entry.kind} sealed>"


class Link(msgspec.Struct, frozen=True):
    """`by` linked the identifier to its stream's customer, or unlinked it."""

    identifier: LinkedIdentifier
    unlinked: bool
    by: Opened


class Canonical(msgspec.Struct, frozen=True):
    """From `by` on, `canonical` answers for `stream`."""

    stream: bytes
    canonical: bytes
    by: Opened


class Traits(msgspec.Struct, frozen=True):
    """From `by` on, the customer has the traits of this record; the first of its members is canonical."""

    record: GoldenRecord
    by: Opened


Told = Link | Canonical | Traits

_REGROUPS = events.CustomersMerged | events.CustomersSplit | events.CustomerErased


class Sweep:
    """Keeps the states that it has come by, as of the last instant it was told of."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._states: OrderedDict[bytes, State] = OrderedDict()

    async def prepare(self, opened: Sequence[Opened]) -> None:
        """Has at hand, as known before these events, the states that they change. At most once before `advance` goes through them."""
        while len(self._states) > KEPT_STREAMS:
            self._states.popitem(last=False)
        begun = {one.record.entry.stream for one in opened if one.record.version == 1}
        touched = {one.record.entry.stream for one in opened}
        await self._load(touched - begun, opened[0].record.recorded_at - 1)
        for stream in touched - begun:
            self._states.setdefault(stream, State())
            self._states.move_to_end(stream)

    async def advance(self, opened: Sequence[Opened]) -> list[Told]:
        """One whole instant."""
        before = opened[0].record.recorded_at - 1
        regrouped = [one for one in opened if isinstance(one.public, _REGROUPS | events.CustomerFounded)]
        heard_of = [one for one in opened if isinstance(one.personal, events.Identified)]
        await self._complete({one.record.entry.stream for one in regrouped}, before)
        was = canonicals({one.record.entry.stream for one in regrouped}, self._states)
        told: list[Told] = list(self._evolve(opened))
        await self._complete({one.record.entry.stream for one in (*regrouped, *heard_of)}, before)
        told += self._regrouped(regrouped, was)
        told += self._traits(regrouped, heard_of, was)
        return told

    def _evolve(self, opened: Sequence[Opened]) -> Iterator[Link]:
        for one in opened:
            entry = one.record.entry
            state = self._states.setdefault(entry.stream, State())
            if isinstance(one.public, events.IdentifierUnlinked):
                found = state.identifiers.get(one.public.link_id)
                if found is not None:
                    yield Link(found, True, one)
            evolve(state, entry, one.public, one.personal)
            if isinstance(one.public, events.IdentifierLinked) and entry.event_id in state.identifiers:
                yield Link(state.identifiers[entry.event_id], False, one)

    def _regrouped(self, regrouped: Sequence[Opened], was: Mapping[bytes, bytes]) -> Iterator[Canonical]:
        own: dict[bytes, Opened] = {}
        for one in regrouped:
            own.setdefault(one.record.entry.stream, one)
        now = canonicals([*own, *was], self._states)
        for stream in sorted(now):
            if was.get(stream) != now[stream]:
                yield Canonical(stream, now[stream], own.get(stream) or own.get(now[stream]) or regrouped[0])

    def _traits(self, regrouped: Sequence[Opened], heard_of: Sequence[Opened], was: Mapping[bytes, bytes]) -> Iterator[Traits]:
        """Of each canonical customer that heard something or isn't what it was, once."""
        changed = [*heard_of, *(one for one in regrouped if isinstance(one.public, _REGROUPS))]
        now = canonicals([*(one.record.entry.stream for one in changed), *was], self._states)
        by = {now[one.record.entry.stream]: one for one in changed}
        for stream, canonical in was.items():
            if changed and canonical != now[stream]:  # one was taken apart, or into another
                by = {canonical: changed[0], now[stream]: changed[0]} | by
        members: dict[bytes, dict[bytes, State]] = {}
        for stream, canonical in now.items():
            members.setdefault(canonical, {})[stream] = self._states[stream]
        for canonical, one in by.items():
            if canonical in members:
                yield Traits(golden_record(members[canonical]), one)

    async def _complete(self, streams: Collection[bytes], known_at: int) -> None:
        """Also has the states of all that edges lead to from these. One that no event of this page changes is as it was before."""
        reached = {stream for stream in streams if stream in self._states}
        new = set(reached)
        while new:
            new = reachable(self._states[stream] for stream in new) - reached
            await self._load(new, known_at)
            new &= self._states.keys()
            reached |= new

    async def _load(self, streams: Collection[bytes], known_at: int) -> None:
        if missing := [stream for stream in streams if stream not in self._states]:
            found = await self._history.states(missing, known_at)
            self._states.update((stream, held.state) for stream, held in found.items())
