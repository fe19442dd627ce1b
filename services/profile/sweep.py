"""Goes through the log instant by instant and tells how who is who, and what is known of them, changed at each.

What it tells is what reads as known at that instant would have told: the states are folded by the same code, as the log then was.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from services.profile.choosing import THEN, Chooser
from services.profile.domain.clocks import Instant
from services.profile.domain.computed.events import name_of
from services.profile.domain.fold import evolve_to
from services.profile.domain.golden import GoldenRecord
from services.profile.domain.lineage import canonicals, members_of
from services.profile.domain.rules import Rules
from services.profile.domain.state import Held, LinkedIdentifier, reachable
from services.profile.tables.history import History
from shared.events import customer as events
from shared.log import Record
from shared.privacy import REDACTED

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
    """Keeps the states that it has come by, as of the last instant it was told of, folded for the rules in force then."""

    def __init__(self, history: History, chooser: Chooser) -> None:
        self._history = history
        self._chooser = chooser
        self._rules: Rules | None = None
        self._held: OrderedDict[bytes, Held] = OrderedDict()
        self._page: Sequence[Opened] = ()

    async def prepare(self, opened: Sequence[Opened]) -> None:
        """The events, of whole instants, that `advance` goes through next: the states that they change are read at once."""
        self._page = opened
        while len(self._held) > KEPT_STREAMS:
            self._held.popitem(last=False)
        await self._have_at_hand(opened[0].record.recorded_at)

    async def advance(self, opened: Sequence[Opened]) -> list[Told]:
        """One whole instant."""
        at = opened[0].record.recorded_at
        if self._rules is not self._chooser.rules(THEN, at):
            await self._have_at_hand(at)
        regrouped = [one for one in opened if isinstance(one.public, _REGROUPS | events.CustomerFounded)]
        heard_of = [one for one in opened if self._bears_on_traits(one)]
        await self._complete({one.record.entry.stream for one in regrouped}, at - 1)
        was = canonicals({one.record.entry.stream for one in regrouped}, self._held)
        told: list[Told] = list(self._evolve(opened))
        await self._complete({one.record.entry.stream for one in (*regrouped, *heard_of)}, at - 1)
        told += self._regrouped(regrouped, was)
        told += await self._traits(self._changed(regrouped, heard_of), at)
        return told

    def _bears_on_traits(self, one: Opened) -> bool:
        """What sources say of a customer, and what computed traits are made from: some have a value when nothing has happened yet."""
        if isinstance(one.personal, events.Identified):
            return True
        computed = None if self._rules is None else self._rules.computed
        if computed is not None and isinstance(one.public, events.CustomerFounded):
            return True
        return (
            computed is not None
            and isinstance(one.public, events.Activity)
            and one.personal is not REDACTED
            and bool(computed.wanting(name_of(one.personal)))
        )

    def _evolve(self, opened: Sequence[Opened]) -> Iterator[Link]:
        assert self._rules is not None
        for one in opened:
            entry = one.record.entry
            state = self._held.setdefault(entry.stream, Held()).state
            if isinstance(one.public, events.IdentifierUnlinked):
                found = state.identifiers.get(one.public.link_id)
                if found is not None:
                    yield Link(found, True, one)
            evolve_to(one.record.version, state, entry, one.public, one.personal, self._rules.keeping)
            if isinstance(one.public, events.IdentifierLinked) and entry.event_id in state.identifiers:
                yield Link(state.identifiers[entry.event_id], False, one)

    def _regrouped(self, regrouped: Sequence[Opened], was: Mapping[bytes, bytes]) -> Iterator[Canonical]:
        own: dict[bytes, Opened] = {}
        for one in regrouped:
            own.setdefault(one.record.entry.stream, one)
        now = canonicals([*own, *was], self._held)
        for stream in sorted(now):
            if was.get(stream) != now[stream]:
                yield Canonical(stream, now[stream], own.get(stream) or own.get(now[stream]) or regrouped[0])

    def _changed(self, regrouped: Sequence[Opened], heard_of: Sequence[Opened]) -> dict[bytes, Opened]:
        """The canonical customers that something was said of or that aren't what they were, and by what. Each part of a customer
        that was taken apart has an end of an edge that is gone."""
        changed = [*heard_of, *(one for one in regrouped if isinstance(one.public, _REGROUPS))]
        now = canonicals([one.record.entry.stream for one in changed], self._held)
        return {now[one.record.entry.stream]: one for one in changed}

    async def _traits(self, changed: Mapping[bytes, Opened], at: int) -> list[Traits]:
        assert self._rules is not None
        clusters = {
            canonical: {member: self._held[member] for member in members_of(canonical, self._held)} for canonical in changed
        }
        records = await self._chooser.records(clusters, self._rules, Instant(known_at=at))
        return [Traits(records[canonical], one) for canonical, one in changed.items() if canonical in records]

    async def _have_at_hand(self, at: int) -> None:
        """By the rules of that instant, and as of just before it, the states that the rest of the page changes."""
        rules = self._chooser.rules(THEN, at)
        if self._rules is None or self._rules.keeping != rules.keeping:
            self._history = self._history.of(rules.keeping)
            self._held.clear()
        self._rules = rules
        rest = [one.record for one in self._page if one.record.recorded_at >= at]
        begun = {record.entry.stream for record in rest if record.version == 1}
        touched = {record.entry.stream for record in rest} - begun
        await self._load(touched, at - 1)
        for stream in touched & self._held.keys():
            self._held.move_to_end(stream)

    async def _complete(self, streams: Collection[bytes], known_at: int) -> None:
        """Also has the states of all that edges lead to from these. One that no event of this page changes is as it was before."""
        new = {stream for stream in streams if stream in self._held}
        reached = set(new)
        while new:
            new = reachable(self._held[stream].state for stream in new) - reached
            await self._load(new, known_at)
            new &= self._held.keys()
            reached |= new

    async def _load(self, streams: Collection[bytes], known_at: int) -> None:
        if missing := [stream for stream in streams if stream not in self._held]:
            self._held.update(await self._history.states(missing, known_at))
