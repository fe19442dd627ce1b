"""Other rules come into force: a page of members that they leave alone is listed at once, and as it is once all states follow them."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from c360.profile.v1 import segment_pb2 as pb

from services.profile.tables import history as history_module
from services.profile.tables.folding import add as add_to
from services.profile.tables.snapshots import Past
from shared.ids import derived_id, to_text
from shared.instants import now_us
from shared.log import Record
from tests.live.inside import Inside, founded, identified, linked, merged, new_id, tracked
from tests.live.test_profile_rules import activated, command
from tests.live.test_segments import Deadline, api_of, caught_up, inside
from tests.properties.people_read import decision, purpose

__all__ = ["inside"]
ORDER = "event.name == 'Order Completed'"
ORDERS = {
    "orders": {"of": ORDER, "aggregate": "count", "window": "3650d"},
    "ids": {"of": ORDER, "aggregate": "unique_count", "value": "event.properties.id"},
}
MANY = 700  # more than is folded while others wait
KEPT = 3  # of a window's events
FEW, LARGE, JOINED, REFUSING = range(4)


def document(**others: Any) -> str:
    segments = {"buyers": {"when": "computed.orders >= 1"}, "named": {"when": "has(traits.city)"}}
    return msgspec.json.encode({"computed": ORDERS | others, "segments": segments}).decode()


class Shop:
    def __init__(self, inside: Inside, streams: list[bytes], keys: Any) -> None:
        self.inside, self.streams, self.keys = inside, streams, keys
        self.folded = 0
        self.changes: tuple[set[str], int] = set(), 0

    async def happen(self) -> None:
        """All of them buy, and are named; one of them much more often, and one is two that are one."""
        for number, stream in enumerate(self.streams):
            key = self.keys[stream]
            await self.inside.record([founded(stream, number), linked(stream, key, f"{number}@shop.example")])
            await self.inside.record([identified(stream, key, now_us(), city="Kiel"), tracked(stream, key, now_us(), id="a")])
        large = self.streams[LARGE]
        await self.inside.record(tracked(large, self.keys[large], now_us(), id=f"{n}") for n in range(MANY))
        await self.inside.record(merged(self.streams[JOINED], self.streams[-1], len(self.streams) - 1))

    async def listed(self, segment: str) -> tuple[dict[str, bool], int]:
        """Whether each is judged by less than all, by member; and how many are withheld."""
        request = pb.ListSegmentMembersRequest(segment=segment, purpose="support")
        found = await api_of(self.inside).ListSegmentMembers(request, Deadline(0))
        return {one.customer_id: one.cut for one in found.members}, found.withheld_count

    async def all_listed(self) -> list[tuple[dict[str, bool], int]]:
        def add(past: Past, records: Sequence[Record], *rest: Any) -> None:
            self.folded += len(records)
            add_to(past, records, *rest)

        with patch.object(history_module, "add", add):
            members = [await self.listed(segment) for segment in ("buyers", "named")]
            self.changes = await self.changes_listed()
            return members

    async def changes_listed(self) -> tuple[set[str], int]:
        request = pb.ListMembershipChangesRequest(segment="buyers", purpose="support")
        found = await api_of(self.inside).ListMembershipChanges(request, Deadline(0))
        return {one.customer_id for one in found.changes}, found.withheld_count

    async def refold(self) -> None:
        async for page in self.inside.parts.states.pages(100, of_other_folds=True):
            await self.inside.parts.states.refold(page)
        self.inside.parts.held.clear()


@pytest.fixture
async def shop(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr("services.profile.domain.computed.definitions.MAX_OCCURRENCES", KEPT)
    inside.confirm_consent()
    await inside.define(purpose("consent", "*"))
    streams = [new_id() for _ in range(5)]
    shop = Shop(inside, streams, await inside.keys(streams))
    for number in range(len(streams)):
        if number != REFUSING:
            await inside.decide(decision(derived_id(f"{number}@shop.example".encode()), "granted", 1))
    await activated(inside.parts, command(document()))
    await shop.happen()
    await caught_up(inside.parts.keeper)
    return shop


async def test_members_are_listed_while_their_states_are_of_other_rules_as_they_are_afterwards(shop: Shop) -> None:
    before = await shop.all_listed()
    for number in range(2):  # one upon the other: some states are of each
        await activated(shop.inside.parts, command(document(**{f"more_{number}": {"of": ORDER, "aggregate": "count"}})))
        few = shop.streams[FEW]
        await shop.inside.record([tracked(few, shop.keys[few], now_us(), id="a")])
    await caught_up(shop.inside.parts.keeper)
    assert not shop.inside.parts.rulebook.in_force.settled
    shop.folded = 0
    at_once = await shop.all_listed()
    assert (at_once, shop.folded) == (before, 0), "no history was folded"
    await shop.refold()
    assert await shop.all_listed() == at_once
    (buyers, withheld), (named, _) = at_once
    assert (shop.changes[0] >= buyers.keys(), shop.changes[1]) == (True, 1)
    assert withheld == 1, "who doesn't permit it"
    assert buyers == {to_text(shop.streams[number]): number == LARGE for number in (FEW, LARGE, JOINED)}
    assert set(named.values()) == {False}


async def test_who_withdraws_meanwhile_isnt_listed(shop: Shop) -> None:
    await activated(shop.inside.parts, command(document(more={"of": ORDER, "aggregate": "count"})))
    await shop.inside.decide(decision(derived_id(b"1@shop.example"), "withdrawn", 2))
    (buyers, withheld), _ = await shop.all_listed()
    assert (to_text(shop.streams[LARGE]) in buyers, withheld, shop.folded) == (False, 2, 0)


async def test_of_one_whose_states_are_of_several_rules_it_is_said_that_it_isnt_known(shop: Shop) -> None:
    await activated(shop.inside.parts, command(document(more={"of": ORDER, "aggregate": "count"})))
    other = shop.streams[-1]
    await shop.inside.record([tracked(other, shop.keys[other], now_us(), id="a")])
    assert (await shop.listed("buyers"))[0][to_text(shop.streams[JOINED])] is True
    await shop.refold()
    assert (await shop.listed("buyers"))[0][to_text(shop.streams[JOINED])] is False
