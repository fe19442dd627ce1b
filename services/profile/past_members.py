"""Who was in a segment at an instant: everybody is looked at as of then, page by page; what is written of members isn't read."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import aclosing
from typing import Final, Literal

import msgspec

from services.profile.app import Instant, Profiles
from services.profile.batches import Batches, Refused
from services.profile.choosing import Chooser, RulesChoice
from services.profile.clusters import Cluster, oldest_first
from services.profile.domain.golden import GoldenRecord
from services.profile.domain.membership import rests_on_less, standing_in
from services.profile.domain.rules import Rules
from services.profile.failures import OF_OTHERS, note
from services.profile.reading import judged_by, looked_up, noted
from services.profile.steady import Steady
from services.profile.tables.snapshots import NEVER
from services.profile.tables.states import States
from shared.errors import NotPermitted, WrongState
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME, Clock

LOOKED_AT_ONCE: Final = 50  # customers, whose events are read together
LOOKS_S: Final = 1.0  # then a page ends, however few were found

# "cut": in it, judged by less than all; "unknown": of whom it can't be told; who wasn't in it, or was erased, has none.
Outcome = Literal["in", "cut", "withheld", "unknown"]


class Asked(msgspec.Struct, frozen=True):
    """The segment is one of these rules."""

    segment: str
    rules: Rules
    instant: Instant
    purpose: PurposeDefined


class PageThen(msgspec.Struct):
    """The members among those who were looked at, (customer, judged by less than all); `rest`: behind whom it goes on, empty at the end."""

    members: list[tuple[bytes, bool]] = []
    withheld: int = 0
    unknown: int = 0
    rest: bytes = b""

    def add(self, customer: bytes, outcome: Outcome) -> None:
        if outcome in ("in", "cut"):
            self.members.append((customer, outcome == "cut"))
        self.withheld += outcome == "withheld"
        self.unknown += outcome == "unknown"

    def __repr__(self) -> str:
        return f"<PageThen of {len(self.members)} members sealed>"


class PastMembers:
    def __init__(
        self, profiles: Profiles, batches: Batches, chooser: Chooser, states: States, clock: Clock, steady: Steady
    ) -> None:
        self._profiles = profiles
        self._batches = batches
        self._chooser = chooser
        self._states = states
        self._clock = clock
        self._steady = steady

    async def rules(self, instant: Instant, choice: RulesChoice) -> Rules:
        """Raises NotFound (RULES_UNKNOWN)."""
        known_at = instant.known_at if instant.known_at == END_OF_TIME else (await self._profiles.settled(instant)).known_at
        return self._chooser.rules(choice, known_at)

    async def page(self, asked: Asked, after: bytes, at_most: int) -> PageThen:
        """Each is judged at a moment of their own. Raises Unavailable (CONSENT_NOT_CONFIRMED)."""
        loop, told = asyncio.get_running_loop(), PageThen()
        until = loop.time() + LOOKS_S
        async with aclosing(self._states.pages(LOOKED_AT_ONCE, after=after)) as pages:
            async for streams in pages:
                outcomes = await self._steady.each(streams, lambda some: self._outcomes(some, asked))
                for stream in (one for one in streams if one in outcomes):
                    told.add(stream, outcomes[stream])
                    if len(told.members) >= at_most:
                        told.rest = stream
                        return told
                if loop.time() >= until:
                    told.rest = streams[-1]
                    return told
        return told

    async def _outcomes(self, streams: Collection[bytes], asked: Asked) -> dict[bytes, Outcome]:
        """One of whom no answer can be made holds up nobody else."""
        try:
            return await self._permitted(await self._judged(streams, asked), asked.purpose)
        except OF_OTHERS:
            raise
        except Exception as error:
            if len(streams) == 1:
                [stream] = streams
                note(stream, "segments", error)
                return {stream: "unknown"}
        found: dict[bytes, Outcome] = {}
        for stream in streams:
            found |= await self._outcomes([stream], asked)
        return found

    async def _judged(self, streams: Collection[bytes], asked: Asked) -> dict[bytes, tuple[Cluster, Outcome]]:
        """Of those who answered for themselves then: whoever was in the segment, and of whom it can't be told."""
        instant, rules = asked.instant, asked.rules
        clusters = await self._profiles.clusters_as_of(streams, instant, rules.version)
        for stream, cluster in clusters.items():
            _depends_on(stream, {stream, *cluster.past})
        own = {stream: cluster for stream, cluster in clusters.items() if _stood_for(stream, cluster)}
        whole = {stream: {s: past.held for s, past in one.past.items()} for stream, one in own.items() if not one.redacted}
        profiles = await self._profiles.chosen(whole, rules, instant)
        at = self._clock() if instant.earlier == END_OF_TIME else instant.earlier
        found: dict[bytes, tuple[Cluster, Outcome]] = {}
        for stream, cluster in own.items():
            if stream not in profiles:
                found[stream] = cluster, "unknown"
                continue
            record, states = profiles[stream].record, [one.state for one in whole[stream].values()]
            if standing_in(asked.segment, states, record, rules, at).segments:
                found[stream] = cluster, "cut" if _by_less(asked, record) else "in"
            await asyncio.sleep(0)
        return found

    async def _permitted(self, judged: Mapping[bytes, tuple[Cluster, Outcome]], purpose: PurposeDefined) -> dict[bytes, Outcome]:
        """Without whoever was erased. Who was one with a customer then is asked too."""
        now = await self._batches.clusters(judged, purpose) if judged else {}
        found: dict[bytes, Outcome] = {}
        for customer, (cluster, outcome) in judged.items():
            refused = now[customer]
            if isinstance(refused, Refused) and isinstance(refused.refusal, WrongState):
                continue
            found[customer] = outcome
            if outcome != "unknown" and (isinstance(refused, Refused) or not await self._others_permit(customer, cluster, purpose)):
                found[customer] = "withheld"
        return found

    async def _others_permit(self, customer: bytes, cluster: Cluster, purpose: PurposeDefined) -> bool:
        permit = True
        with noted() as reading:
            try:
                await self._profiles.permit_others(cluster.past, purpose)
            except NotPermitted:
                permit = False
            reading.evidence.clear()  # it is of others, who may be judged for themselves at another moment
        _depends_on(customer, reading.keys)
        return permit


def _depends_on(customer: bytes, keys: Collection[bytes]) -> None:
    looked_up(keys)
    judged_by(customer, keys)


def _stood_for(stream: bytes, cluster: Cluster) -> bool:
    """Whether anything was known of it by then, and it was the canonical one of those that were one."""
    if not cluster.past or (not cluster.instant.is_now and all(one.latest_at == NEVER for one in cluster.past.values())):
        return False
    return oldest_first({member: past.held for member, past in cluster.past.items()})[0] == stream


def _by_less(asked: Asked, record: GoldenRecord) -> bool:
    assert asked.rules.segments is not None, "they define the segment"
    return rests_on_less(asked.rules.segments.conditions[asked.segment], record, asked.rules)
