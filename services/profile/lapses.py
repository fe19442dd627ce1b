"""Whose traits changed with no event, by the passing of time or by a confirmation: what a data lake is told besides the log's changes."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from services.profile.choosing import Chooser
from services.profile.clusters import cluster_of, joined, oldest_first
from services.profile.domain.causes import Passing
from services.profile.domain.diff import ByDecision, Side, compare
from services.profile.domain.rules import Rules
from services.profile.domain.state import Held
from services.profile.sides import Sides, as_of_their_events
from services.profile.tables.snapshots import Past
from services.profile.tables.states import States
from services.profile.visibility import Visibility
from shared.errors import InvalidInput
from shared.events.consent import PurposeDefined
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Stretch

REFRESHED_AT_MOST: Final = 1_000  # customers of one call, whose states are loaded together
STEPS_AT_MOST: Final = 100  # instants of one customer that are looked at; beyond them it is the end that counts


class Lapse(msgspec.Struct, frozen=True):
    """From `at` on the customer has these traits: the last instant at which they changed, or just after its newest event."""

    members: list[bytes]
    traits: Mapping[str, Any]
    at: int
    changed_at: int
    decision_id: bytes  # that confirmed an address; empty where it was time

    def __repr__(self) -> str:
        return f"<Lapse of {len(self.traits)} traits sealed>"


class Lapses:
    def __init__(
        self,
        visibility: Visibility,
        states: States,
        chooser: Chooser,
        sides: Sides,
        reader: LogReader,
        settle: Callable[[int], Awaitable[int]],
        partitions: int,
    ) -> None:
        self._visibility = visibility
        self._states = states
        self._chooser = chooser
        self._sides = sides
        self._reader = reader
        self._settle = settle
        self._partitions = partitions

    @property
    def can_be(self) -> bool:
        """Whether anything can change without an event by the rules in force."""
        return bool(self._chooser.in_force.verifying) or self._chooser.in_force.moved_by_time

    async def settled(self) -> int:
        """An instant by which nothing more will be recorded."""
        return await self._settle(END_OF_TIME)

    async def between(self, customers: Collection[bytes], purpose: PurposeDefined, since: int, through: int) -> list[Lapse]:
        """Of those who answer for themselves and may be seen. Raises InvalidInput (TOO_MANY_CUSTOMERS), Unavailable, EnvelopeBroken."""
        if len(customers) > REFRESHED_AT_MOST:
            raise InvalidInput(
                f"at most {REFRESHED_AT_MOST} customers at a time", reason="TOO_MANY_CUSTOMERS", limit=REFRESHED_AT_MOST
            )
        rules = self._chooser.in_force
        held = await joined(customers, self._states.load)
        if rules is not self._chooser.in_force:  # some of the states may be folded for others
            return await self.between(customers, purpose, since, through)
        seen = await self._visibility.of(held, purpose)
        found: list[Lapse] = []
        for customer in sorted(customers):
            cluster = cluster_of(customer, held)
            members = oldest_first(cluster)
            if not members or members[0] != customer:
                continue
            if all((visible := seen[member]) is not None and not visible.erased for member in members):
                lapse = await self._lapse(members, cluster, rules, purpose, since, through)
                found += [] if lapse is None else [lapse]
        return found

    async def _lapse(
        self, members: list[bytes], cluster: Mapping[bytes, Held], rules: Rules, purpose: PurposeDefined, since: int, through: int
    ) -> Lapse | None:
        past = {member: Past(one, latest_at=0) for member, one in cluster.items()}

        async def side(at: int) -> Side:
            return await self._sides.of(members[0], past, rules, at, whole=False)

        first = now = await side(since)
        changed_at, decision_id, steps = 0, b"", 0
        while now.next_at is not None and now.next_at <= through:
            steps += 1
            new = await side(now.next_at if steps < STEPS_AT_MOST else through)
            if _values(new, purpose) != _values(now, purpose):
                changed_at, decision_id = new.at, _decision(now, new)
            now = new
        if not changed_at or _values(first, purpose) == _values(now, purpose):
            return None
        at = max(changed_at, 1 + await self._recorded_at(cluster))
        told = now if at == now.at else await side(at)  # what clocks say is as of then
        shown = {name: trait.value for name, trait in told.traits.items() if purpose.may_see(name)}
        return Lapse(members, shown, at, changed_at, decision_id)

    async def _recorded_at(self, cluster: Mapping[bytes, Held]) -> int:
        """When the newest of its events was."""
        newest = [
            Stretch(partition_of(member, self._partitions), member, one.version, one.version) for member, one in cluster.items()
        ]
        return max(record.recorded_at for record in await self._reader.history(newest))


def _values(side: Side, purpose: PurposeDefined) -> dict[str, Any]:
    """What clocks say at every instant anew is no change."""
    return {name: trait.value for name, trait in as_of_their_events(side).traits.items() if purpose.may_see(name)}


def _decision(old: Side, new: Side) -> bytes:
    """That confirmed what changed, if one did."""
    changes = compare(old, new, Passing(old, new)).traits
    return next((one.cause.decision.decision_id for one in changes if isinstance(one.cause, ByDecision)), b"")
