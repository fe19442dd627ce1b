"""Other rules come into force: whoever is listed at any step of the look at everybody is who the function says, and the rest isn't listed."""

from contextlib import suppress
from itertools import count
from random import Random
from typing import Any

import msgspec
import pytest
from c360.profile.v1 import segment_pb2 as pb

from services.profile import memberships
from services.profile.api.segments import SegmentApi
from services.profile.domain.golden import golden_record
from services.profile.domain.lineage import canonicals
from services.profile.domain.membership import standing
from services.profile.portions import Looks
from shared.errors import Unavailable
from shared.ids import to_text
from shared.instants import END_OF_TIME, now_us
from tests.live.inside import Inside, erased, founded, identified, merged, new_id, tracked
from tests.live.test_profile_rules import activated, command
from tests.live.test_segments import Deadline, api_of, caught_up, history, inside
from tests.properties.people_read import purpose

__all__ = ["inside"]
ORDERS = {"orders": {"of": "event.name == 'Order Completed'", "aggregate": "count"}}
PEOPLE = 5


def document(first: str | None, *, city: str = "most_recent", computed: Any = ORDERS, title: str = "") -> str:
    segments = {"buyers": {"when": "computed.orders >= 1"}, "late": {"when": "has(traits.city) && computed.orders >= 2"}}
    if first:
        segments["town"] = {"when": f"traits.city == '{first}'", "title": title}
    return msgspec.json.encode({"traits": {"city": {"rule": city}}, "computed": computed, "segments": segments}).decode()


class Town:
    """People who move and buy, and what is listed of them."""

    def __init__(self, inside: Inside, api: SegmentApi, purpose_name: str, keys: Any) -> None:
        self.inside, self.api, self.purpose, self.keys = inside, api, purpose_name, keys
        self.streams = sorted(keys)
        self.random, self.at = Random(7), count(1)
        self.merges = count(1)
        self.gone = set[bytes]()

    async def live(self) -> None:
        """Something happens to somebody."""
        one, other = self.random.sample([stream for stream in self.streams if stream not in self.gone], 2)
        said = identified(one, self.keys[one], next(self.at), city=self.random.choice(["Kiel", "Bremen"]))
        events = [said, tracked(other, self.keys[other], next(self.at))]
        joined = merged(one, other, 1, 0, next(self.merges)) if self.random.random() < 0.1 else []
        await self.inside.record([*events, *joined])

    async def erase(self) -> None:
        self.gone.add(self.random.choice(self.streams))
        await self.inside.record(erased(stream) for stream in self.gone)

    async def listed(self) -> set[str]:
        """Names of segments that are; of each the members and the size are those that the function gives."""
        found = await self.api.ListSegments(pb.ListSegmentsRequest(purpose=self.purpose), None)
        naive = await self.naive()
        for one in found.segments:
            asked = pb.ListSegmentMembersRequest(segment=one.name, purpose=self.purpose)
            if one.settled:
                members = {member.customer_id for member in (await self.api.ListSegmentMembers(asked, Deadline(0))).members}
                assert members == naive[one.name], one.name
                assert one.size == len(members)
            else:
                assert not one.HasField("size")
                with pytest.raises(Unavailable, match="looked at"):
                    await self.api.ListSegmentMembers(asked, Deadline(0))
        assert found.settled is all(one.settled for one in found.segments)
        return {one.name for one in found.segments if one.settled}

    async def naive(self) -> dict[str, set[str]]:
        rules, at = self.inside.parts.rulebook.rules, now_us()
        assert rules.segments is not None
        held, found = await self.inside.parts.states.load(self.streams), dict[str, set[str]]()
        lineage = canonicals(self.streams, held)
        for canonical in set(lineage.values()):
            states = {member: held[member].state for member in self.streams if lineage[member] == canonical}
            if any(state.erased for state in states.values()):
                continue
            for name in standing(states.values(), golden_record(states, rules, (), at), rules, at).segments:
                found.setdefault(name, set()).add(to_text(canonical))
        return {name: found.get(name, set()) for name in rules.segments.conditions}


async def town_of(inside: Inside) -> Town:
    streams = [new_id() for _ in range(PEOPLE)]
    keys, allowed = await inside.keys(streams), purpose("contract", "*")
    await inside.define(allowed)
    await inside.record(founded(stream, number) for number, stream in enumerate(streams))
    return Town(inside, api_of(inside), allowed.name, keys)


async def test_what_is_listed_while_everybody_is_looked_at_is_what_the_function_gives(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, keeper = await town_of(inside), inside.parts.keeper
    await activated(inside.parts, command(document("Kiel")))
    await caught_up(keeper)
    monkeypatch.setattr(memberships, "PAGE_CUSTOMERS", 1)
    others = {"orders": ORDERS["orders"] | {"of": "event.type == 'track'"}}
    told: list[tuple[str, set[str]]] = [
        (document("Bremen"), {"buyers", "late"}),
        (document("Bremen", city="first"), {"buyers"}),
        (document("Bremen", city="first", computed=others), set()),
        (document(None, city="first", computed=others), {"buyers", "late"}),
        (document("Kiel", city="first", computed=others), {"buyers", "late"}),
    ]
    for number, (text, at_once) in enumerate(told):
        await activated(inside.parts, command(text))
        if number != 1:  # else they come one upon the other
            assert await town.listed() >= at_once
        for _ in range(2 if number == 0 else 100):
            await town.live()
            more = await keeper.step()
            listed = await town.listed()
            assert listed >= at_once
            if not more:
                break
        assert number == 0 or not (await inside.parts.memberships.place()).differing
    assert await town.listed() == {"buyers", "late", "town"}


async def test_who_is_looked_at_and_how_far_that_is_follows_from_what_differs(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, parts = await town_of(inside), inside.parts
    await activated(parts, command(document("Kiel")))
    await town.live()
    await caught_up(parts.keeper)
    monkeypatch.setattr(memberships, "PAGE_CUSTOMERS", 2)
    await activated(parts, command(document("Kiel", title="The same")))
    await parts.keeper._follow(parts.rulebook.rules, 100, Looks(None))
    assert (await parts.memberships.place()).customers == 0, "nobody is looked at"
    assert await town.listed() == {"buyers", "late", "town"}

    await activated(parts, command(document("Bremen")))
    parts.activator.is_folding = True
    await town.live()
    await caught_up(parts.keeper)
    assert await town.listed() == {"buyers", "late"}, "they are folded anew first, and the log is followed"
    parts.activator.is_folding = False
    looked_at = []
    while True:
        found = await town.api.ListSegments(pb.ListSegmentsRequest(), None)
        if found.settled:
            break
        looked_at.append((found.looked_at_customers, found.customers))
        with suppress(Unavailable):
            asked = pb.ListSegmentMembersRequest(segment="town", purpose=town.purpose)
            await town.api.ListSegmentMembers(asked, Deadline(0))
        await parts.keeper.step()
    assert looked_at == [(0, PEOPLE), (2, PEOPLE), (4, PEOPLE), (PEOPLE, PEOPLE)]

    order = tracked(town.streams[0], town.keys[town.streams[0]], now_us())
    await activated(parts, command(document("Kiel")))
    await parts.keeper._follow(parts.rulebook.rules, 100, Looks(None))
    await inside.record([order])
    await caught_up(parts.keeper)
    assert await history(inside, "buyers", town.streams[0]) in ([(True, "event")], []), "not by rules that leave it alone"
    assert {one.cause for one in await parts.memberships.changes("town", (), END_OF_TIME, 50)} <= {"event", "rules"}
