"""The law of members of the past: listed is whom the conditions hold of at that instant, asked of each customer by itself."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.profile import past_members
from services.profile.app import Instant
from services.profile.belonging import Belonging, Belongings
from services.profile.choosing import RulesChoice
from services.profile.clusters import oldest_first
from services.profile.past_members import Asked, PastMembers
from shared.errors import CustomerError, NotPermitted
from shared.events.consent import PurposeDefined
from tests.properties.past_store import AUDIT, Past
from tests.properties.pasts import CUSTOMERS, Teller, instants, or_end, pasts
from tests.properties.people_read import decision
from tests.properties.test_profile_limits import room_for
from tests.properties.test_whatif import CONSENT, Tried
from tests.unrecorded import calm

ORDERS = {"of": "event.type == 'track'", "aggregate": "count"}
CONDITIONS = ["has(traits.tier)", "computed.orders >= 2", "size(traits) >= 1"]
choices = st.sampled_from(["then", "now", 2, 3])
ROOM = 2_000  # names of traits


def document(condition: str) -> str:
    return msgspec.json.encode({"computed": {"orders": ORDERS}, "segments": {"some": {"when": condition}}}).decode()


async def world_of(steps: list[Any], conditions: list[str]) -> tuple[Past, Teller, Tried]:
    """By the second condition from half of its steps on."""
    past = Past()
    teller, tried = Teller(past), Tried(past)
    for number, (more, step) in enumerate(steps):
        if number in (0, len(steps) // 2):
            teller.commit()
            await tried.activate(document(conditions[number > 0]))
        teller.play(step)
        if not more:
            teller.commit()
    teller.commit()
    return past, teller, tried


class Asker:
    """One by one, and as a list."""

    def __init__(self, past: Past, instant: Instant, choice: RulesChoice, purpose: PurposeDefined) -> None:
        self.past, self.instant, self.choice, self.purpose = past, instant, choice, purpose
        clock = lambda: past.log.now  # noqa: E731
        self.belongings = Belongings(past.profiles, clock)
        self.members = PastMembers(past.profiles, past.batches, past.chooser, past.states, clock, calm())

    async def of(self, customer: bytes, purpose: PurposeDefined) -> Belonging | CustomerError:
        try:
            return await self.belongings.of(customer, purpose, self.instant, self.choice)
        except CustomerError as refused:
            return refused

    async def stood_for_itself(self, customer: bytes) -> bool:
        [cluster] = (await self.past.profiles.clusters_as_of([customer], self.instant, self.choice)).values()
        held = {member: one.held for member, one in cluster.past.items()}
        return bool(held) and oldest_first(held)[0] == customer

    async def expected(self) -> tuple[dict[bytes, bool], int, int]:
        """{member: judged by less than all}, how many are withheld, and of how many it can't be told."""
        members, withheld, unknown = dict[bytes, bool](), 0, 0
        for customer in [one for one in CUSTOMERS if await self.stood_for_itself(one)]:
            found, audit = await self.of(customer, self.purpose), await self.of(customer, AUDIT)
            if customer not in self.past.keys.held or not isinstance(audit, Belonging):
                continue  # who was erased, or to whom nothing had happened
            if "some" in audit.redacted:
                unknown += customer not in await self.past.profiles.erased_among(CUSTOMERS)
            elif isinstance(found, NotPermitted):
                withheld += "some" in audit.segments
            elif isinstance(found, Belonging) and "some" in found.segments:
                members[customer] = "some" in found.cut
        return members, withheld, unknown

    async def listed(self, size: int) -> tuple[dict[bytes, bool], int, int]:
        rules = await self.members.rules(self.instant, self.choice)
        asked, members = Asked("some", rules, self.instant, self.purpose), dict[bytes, bool]()
        withheld, unknown, after = 0, 0, b""
        while True:
            page = await self.members.page(asked, after, size)
            assert len(page.members) <= size
            assert not members.keys() & dict(page.members).keys()
            members |= dict(page.members)
            withheld, unknown, after = withheld + page.withheld, unknown + page.unknown, page.rest
            if not after:
                return members, withheld, unknown


@pytest.fixture(autouse=True, scope="module")
def few_at_once() -> Iterator[None]:
    with patch.object(past_members, "LOOKED_AT_ONCE", 2):
        yield


def said(one: int, traits: dict[str, Any]) -> tuple[int, tuple[Any, ...]]:
    return 0, ("identify", one, 1, "web", traits)


BOTH = {"city": "Kiel", "tier": 1}
ANY, APART = "size(traits) >= 1", [(0, ("merge", 0, 1, 2)), said(1, BOTH), (0, ("track", 0, 3, "web", "")), (0, ("split", 0, 4))]
ONLY_HERS = frozenset([0])


@example([said(0, BOTH), said(1, {"tier": 1})], [ANY, ANY], (1, None), 2, AUDIT, frozenset(), 1, 1)
@example(APART, [ANY, ANY], (None, 60), "then", CONSENT, ONLY_HERS, 1, ROOM)
@example([*APART, (0, ("erase", 1, 5))], [ANY, ANY], (None, 60), "then", AUDIT, frozenset(), 1, ROOM)
@given(
    pasts,
    st.lists(st.sampled_from(CONDITIONS), min_size=2, max_size=2),
    instants,
    choices,
    st.sampled_from([AUDIT, CONSENT]),
    st.frozensets(st.integers(0, 3)),
    st.integers(1, 3),
    st.sampled_from([ROOM, 1]),
)
async def test_members_then_are_those_of_whom_each_asked_by_itself_it_is_so(
    steps: list[Any],
    conditions: list[str],
    at: Any,
    choice: RulesChoice,
    purpose: PurposeDefined,
    granting: frozenset[int],
    size: int,
    room: int,
) -> None:
    with room_for(room):
        past, teller, _ = await world_of(steps, conditions)
        for one in granting:
            past.decisions[b"u%d" % one] = [decision(b"u%d" % one, "granted", 1)]
        instant = Instant(or_end(at[0]), or_end(at[1] and teller.known_at(at[1])))
        asker = Asker(past, instant, choice, purpose)
        if isinstance(choice, int) and choice > past.rulebook.rules.version:
            return
        rules = await asker.members.rules(instant, choice)
        if rules.segments is not None and "some" in rules.segments.conditions:
            assert await asker.listed(size) == await asker.expected()
