"""What other rules would change: every customer's profile by the rules in force and by these, in pages; nothing is written."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

import msgspec

from services.profile.app import Profiles
from services.profile.choosing import Chooser
from services.profile.clusters import cluster_of, joined
from services.profile.domain.difference import Change, Difference, changes
from services.profile.domain.rules import Rules
from services.profile.domain.state import Held
from services.profile.enforcement import NOT_IN_PURPOSE, sees_what_it_is_made_of
from services.profile.tables.history import History
from services.profile.tables.states import States
from shared.errors import LimitExceeded, NotFound, NotPermitted, WrongState
from shared.events.consent import PurposeDefined
from shared.instants import Clock

PAGE_STATES: Final = 100  # with their whole histories, when the rules need other states than are kept
SIMULATIONS_AT_MOST: Final = 1  # at a time: each makes all profiles twice
PURPOSE_MISSING: Final = "PURPOSE_MISSING"

Clusters = Mapping[bytes, dict[bytes, Held]]


class Example(msgspec.Struct, frozen=True):
    """A change of a trait; when it may not be shown it is absent, and `withheld` says why. Whose it is would tell what they have."""

    trait: str
    change: Change | None = None
    withheld: str = ""


class Progress(NamedTuple):
    """How many of how many states were looked at, and what was found so far. Examples come with the last one only."""

    states: int
    of: int
    found: Difference
    examples: Sequence[Example]


class Simulation:
    def __init__(self, profiles: Profiles, chooser: Chooser, states: States, history: History, clock: Clock) -> None:
        self._profiles = profiles
        self._chooser = chooser
        self._states = states
        self._history = history
        self._clock = clock
        self._running = 0

    async def rules(self, rules: Rules, examples: int, purpose: PurposeDefined | None) -> AsyncGenerator[Progress, None]:
        """Page by page; the last one has everything. Raises LimitExceeded (SIMULATION_BUSY), Unavailable, EnvelopeBroken."""
        if self._running >= SIMULATIONS_AT_MOST:
            raise LimitExceeded("other rules are being tried; try again later", reason="SIMULATION_BUSY", limit=SIMULATIONS_AT_MOST)
        self._running += 1
        try:
            async with aclosing(self._pages(rules, examples, purpose)) as pages:
                async for progress in pages:
                    yield progress
        finally:
            self._running -= 1

    async def _pages(self, rules: Rules, examples: int, purpose: PurposeDefined | None) -> AsyncGenerator[Progress, None]:
        live, found, picked, done = self._chooser.in_force, Difference(), list[Change](), 0
        total = await self._states.count()
        yield Progress(0, total, found, ())
        async with aclosing(self._states.pages(PAGE_STATES)) as pages:
            async for page in pages:
                for own in await self._changes(page, live, rules):
                    found.add(own)
                    picked += own[: examples - len(picked)]
                done += len(page)
                yield Progress(done, max(done, total), found, ())
        # Now, not when they were found: the reader may have taken her time, and the customer a decision.
        yield Progress(done, max(done, total), found, await self._examples(picked, purpose, (live, rules)))

    async def _changes(self, page: list[bytes], live: Rules, rules: Rules) -> list[list[Change]]:
        """Of each customer whose canonical stream is in the page; nobody is in two, and who was erased is in none."""
        before, after = await self._both(page, live, rules)
        customers = [customer for customer in page if _stands_for(customer, before.get(customer, {}))]
        now = self._clock()  # the same for both: some computed traits change with it
        old = await self._chooser.records({customer: before[customer] for customer in customers}, live, now)
        new = await self._chooser.records({customer: after[customer] for customer in customers}, rules, now)
        return [list(changes(old[customer], new[customer])) for customer in customers]

    async def _both(self, page: list[bytes], live: Rules, rules: Rules) -> tuple[Clusters, Clusters]:
        """The same events folded for both rules."""
        held = await joined(page, self._states.load)
        before = {customer: cluster_of(customer, held) for customer in page}
        if rules.keeping == live.keeping:
            return before, before
        records = await self._history.read(held)
        folded = [await self._history.of(one.keeping).fold(records) for one in (live, rules)]
        old, new = ({c: {s: one[s] for s in cluster} for c, cluster in before.items()} for one in folded)
        return old, new

    async def _examples(self, picked: Sequence[Change], purpose: PurposeDefined | None, both: Sequence[Rules]) -> list[Example]:
        refused = {customer: await self._refused(customer, purpose) for customer in {change.customer for change in picked}}
        found: list[Example] = []
        for change in picked:
            withheld = refused[change.customer]
            if not withheld and not (purpose and all(_may_see(purpose, change.trait, rules) for rules in both)):
                withheld = NOT_IN_PURPOSE
            found.append(Example(change.trait, None, withheld) if withheld else Example(change.trait, change))
        return found

    async def _refused(self, customer: bytes, purpose: PurposeDefined | None) -> str:
        if purpose is None:
            return PURPOSE_MISSING
        try:
            await self._profiles.permit_cluster(customer, purpose, self._states.load)
        except (NotPermitted, WrongState, NotFound) as refused:  # erased since, or gone
            return refused.reason
        return ""


def _may_see(purpose: PurposeDefined, trait: str, rules: Rules) -> bool:
    """A trait that is computed shows what its definition looks at, whatever it is called."""
    definition = rules.computed.all.get(trait) if rules.computed else None
    return purpose.may_see(trait) and (definition is None or sees_what_it_is_made_of(purpose, definition))


def _stands_for(customer: bytes, cluster: Mapping[bytes, Held]) -> bool:
    """Whether it is the canonical one of those who are one."""
    if not cluster or any(h.state.erased for h in cluster.values()):
        return False
    return customer == min(cluster, key=lambda stream: (cluster[stream].state.founding_number, stream))
