"""Whom a version of the rules changed by coming into force: everybody is looked at, page by page, as known at that instant."""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from typing import Any, Final

import msgspec

from services.profile.choosing import Chooser
from services.profile.clusters import cluster_of, joined, oldest_first
from services.profile.domain.clocks import Instant
from services.profile.domain.golden import GoldenRecord
from services.profile.domain.rules import Rules
from services.profile.domain.state import MAX_TRAITS, Held
from services.profile.sweep import Opened, Traits
from services.profile.tables.history import History
from services.profile.tables.rulebook import Rulebook
from services.profile.tables.states import States
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME

PAGE_STREAMS: Final = 100  # whose states, by both rules, are in memory


class Place(msgspec.Struct, frozen=True):
    """Amid looking at everybody for a version of the rules: the last stream that was looked at, and how many were."""

    version: int
    stream: bytes
    looked_at: int


class NewRules:
    def __init__(self, states: States, history: History, chooser: Chooser, rulebook: Rulebook) -> None:
        self._states = states
        self._history = history
        self._chooser = chooser
        self._rulebook = rulebook

    async def count(self) -> int:
        """How many streams are looked at."""
        return await self._states.count()

    async def changed(
        self, activated: Opened, purpose: PurposeDefined, after: Place | None
    ) -> AsyncGenerator[tuple[list[Traits], Place], None]:
        """Whose traits, as far as the purpose may see them, the rules before and these choose differently at that instant."""
        numbers = (max(activated.public.version - 1, 1), activated.public.version)
        old, new = (self._rulebook.version(number).rules for number in numbers)
        if old.keeping.first == new.keeping.first and _same_choice(old, new):
            return
        looked_at = after.looked_at if after else 0
        async with aclosing(self._states.pages(PAGE_STREAMS, after=after.stream if after else b"")) as pages:
            async for page in pages:
                looked_at += len(page)
                found = await self._differing(page, old, new, activated.record.recorded_at, purpose)
                yield [Traits(record, activated) for record in found], Place(new.version, page[-1], looked_at)

    async def _differing(
        self, page: Collection[bytes], old: Rules, new: Rules, at: int, purpose: PurposeDefined
    ) -> list[GoldenRecord]:
        """Of those in the page who answer for themselves, by the new rules."""
        held = await joined(page, lambda streams: self._history.of(new.keeping).states(streams, at))
        clusters = _canonical(page, held)
        if _same_choice(old, new):
            clusters = {customer: cluster for customer, cluster in clusters.items() if _too_many(cluster.values())}
        now = await self._chooser.records(clusters, new, Instant(known_at=at))
        if old.keeping != new.keeping and clusters:
            wanted = {member for cluster in clusters.values() for member in cluster}
            before = await self._history.of(old.keeping).states(wanted, at)
            clusters = {customer: {member: before[member] for member in cluster} for customer, cluster in clusters.items()}
        was = await self._chooser.records(clusters, old, Instant(known_at=at))
        return [
            record
            for customer, record in now.items()
            if customer not in was or _seen(record, purpose) != _seen(was[customer], purpose)
        ]


def _same_choice(old: Rules, new: Rules) -> bool:
    """Whether they make the same of what both keep; of whoever has too many traits they may keep others (`Keeping.first`)."""
    meanings = [{name: one.meaning for name, one in rules.computed.all.items()} if rules.computed else {} for rules in (old, new)]
    return (old.default, old.traits, meanings[0]) == (new.default, new.traits, meanings[1])


def _too_many(cluster: Collection[Held]) -> bool:
    """Whether some traits may be left out."""
    told = 0
    for one in (held.state for held in cluster):
        told += len(one.traits) + len(one.assertions) + len(one.removals) + len(one.too_large)
        if one.left_out_for or told > MAX_TRAITS:
            return True
    return False


def _canonical(page: Collection[bytes], held: Mapping[bytes, Held]) -> dict[bytes, dict[bytes, Held]]:
    """By canonical customer in the page; of whom nothing had happened yet there is nothing to tell."""
    clusters = {customer: cluster_of(customer, held) for customer in page if customer in held}
    return {
        customer: cluster
        for customer, cluster in clusters.items()
        if oldest_first(cluster)[0] == customer and any(one.state.first_seen_at != END_OF_TIME for one in cluster.values())
    }


def _seen(record: GoldenRecord, purpose: PurposeDefined) -> dict[str, Any]:
    """And whether they are cut."""
    return {name: (trait.value, trait.cut) for name, trait in record.traits.items() if purpose.may_see(name)}
