"""Whose traits changed with no event, by the passing of time or by a confirmation: what a data lake is told besides the log's changes."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from services.profile.clusters import cluster_of, joined, oldest_first
from services.profile.domain.causes import Passing
from services.profile.domain.clocks import Instant
from services.profile.domain.diff import ByDecision, Side, compare
from services.profile.domain.rules import Rules
from services.profile.domain.state import Held
from services.profile.failures import OF_OTHERS, note
from services.profile.sides import Sides, as_of_their_events
from services.profile.tables.history import History
from services.profile.tables.rulebook import Reign, Rulebook
from services.profile.tables.snapshots import Past
from services.profile.tables.states import States
from services.profile.visibility import Visibility
from shared.errors import InvalidInput, ProfileFailed
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
    cut: list[str]  # names of those of the traits of which not all could be considered

    def __repr__(self) -> str:
        return f"<Lapse of {len(self.traits)} traits sealed>"


class Lapsed(msgspec.Struct, frozen=True):
    """What changed by an instant, whether anything can have, and whether other rules came after it, by which it is to be asked again."""

    lapses: list[Lapse]
    through: int
    can_be: bool
    more: bool


class Lapses:
    def __init__(
        self,
        visibility: Visibility,
        states: States,
        history: History,
        rulebook: Rulebook,
        sides: Sides,
        reader: LogReader,
        settle: Callable[[int], Awaitable[int]],
        partitions: int,
    ) -> None:
        self._visibility = visibility
        self._states = states
        self._history = history
        self._rulebook = rulebook
        self._sides = sides
        self._reader = reader
        self._settle = settle
        self._partitions = partitions

    async def settled(self) -> int:
        """An instant by which nothing more will be recorded."""
        return await self._settle(END_OF_TIME)

    async def between(self, customers: Collection[bytes], purpose: PurposeDefined, since: int, through: int) -> Lapsed:
        """Under the first rules in force between these instants by which anything changes with no event, until they ended: of those who
        answered for themselves then and may be seen. Raises InvalidInput (TOO_MANY_CUSTOMERS), Unavailable, EnvelopeBroken."""
        if len(customers) > REFRESHED_AT_MOST:
            raise InvalidInput(
                f"at most {REFRESHED_AT_MOST} customers at a time", reason="TOO_MANY_CUSTOMERS", limit=REFRESHED_AT_MOST
            )
        reign = next((one for one in self._rulebook.reigns(since, through) if _can_lapse(one.rules)), None)
        if reign is None:
            return Lapsed([], through, can_be=False, more=False)
        held = await joined(customers, lambda streams: self._load(streams, reign))
        if reign.until == END_OF_TIME and reign.rules is not self._rulebook.rules:  # some of the states may be folded for others
            return await self.between(customers, purpose, since, through)
        end = min(through, reign.until)
        return Lapsed(await self._of(customers, held, reign, purpose, end), end, can_be=True, more=end < through)

    async def _of(
        self, customers: Collection[bytes], held: Mapping[bytes, Held], reign: Reign, purpose: PurposeDefined, through: int
    ) -> list[Lapse]:
        seen = await self._visibility.of(held, purpose)
        found: list[Lapse] = []
        for customer in sorted(customers):
            cluster = cluster_of(customer, held)
            members = oldest_first(cluster)
            if not members or members[0] != customer:
                continue
            if all((visible := seen[member]) is not None and not visible.erased for member in members):
                try:
                    lapse = await self._lapse(members, cluster, reign, purpose, through)
                except ProfileFailed:  # noted already
                    continue
                except OF_OTHERS:
                    raise
                except Exception as error:
                    note(customer, "lapse", error)
                    continue
                found += [] if lapse is None else [lapse]
        return found

    async def _load(self, streams: Collection[bytes], reign: Reign) -> dict[bytes, Held]:
        if reign.until == END_OF_TIME:
            return await self._states.load(streams)
        return await self._history.of(reign.rules.keeping).states(streams, reign.until)

    async def _lapse(
        self, members: list[bytes], cluster: Mapping[bytes, Held], reign: Reign, purpose: PurposeDefined, through: int
    ) -> Lapse | None:
        past = {member: Past(one, latest_at=0) for member, one in cluster.items()}

        async def side(at: int) -> Side:
            return await self._sides.of(members[0], past, reign.rules, Instant(known_at=at), whole=False)

        first = now = await side(reign.since)
        changed_at, decision_id, steps = 0, b"", 0
        while now.next_at is not None and now.next_at <= through:
            steps += 1
            new = await side(now.next_at if steps < STEPS_AT_MOST else through)
            if _values(new, purpose) != _values(now, purpose):
                changed_at, decision_id = new.at, _decision(now, new)
            now = new
        if not changed_at or _values(first, purpose) == _values(now, purpose):
            return None
        # Of an event just before other rules came, the instant itself: from the next on it is by those.
        at = max(changed_at, min(1 + await self._recorded_at(cluster), reign.until))
        told = now if at == now.at else await side(at)  # what clocks say is as of then
        shown = {name: trait for name, trait in told.traits.items() if purpose.may_see(name)}
        values, cut = {name: trait.value for name, trait in shown.items()}, sorted(name for name, one in shown.items() if one.cut)
        return Lapse(members, values, at, changed_at, decision_id, cut)

    async def _recorded_at(self, cluster: Mapping[bytes, Held]) -> int:
        """When the newest of its events was."""
        newest = [
            Stretch(partition_of(member, self._partitions), member, one.version, one.version) for member, one in cluster.items()
        ]
        return max(record.recorded_at for record in await self._reader.history(newest))


def _can_lapse(rules: Rules) -> bool:
    return bool(rules.verifying or rules.moved_by_time)


def _values(side: Side, purpose: PurposeDefined) -> dict[str, Any]:
    """And whether they are cut. What clocks say at every instant anew is no change."""
    return {name: (trait.value, trait.cut) for name, trait in as_of_their_events(side).traits.items() if purpose.may_see(name)}


def _decision(old: Side, new: Side) -> bytes:
    """That confirmed what changed, if one did."""
    changes = compare(old, new, Passing(old, new)).traits
    return next((one.cause.decision.decision_id for one in changes if isinstance(one.cause, ByDecision)), b"")
