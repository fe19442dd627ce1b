"""The past of a customer with more of everything than anybody should have: not asked for merge by merge, nor page by page anew.

Counted are statements and rows, which no busy machine changes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import history_pb2, rules_pb2
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1.history_pb2_grpc import HistoryServiceStub
from c360.profile.v1.rules_pb2_grpc import ProfileRulesServiceStub

from services.profile.api.bounds import LISTED_AT_MOST
from shared.instants import SECOND
from tests.live.giant import EACH, EVENTS, MERGES, PLANS, STEP_US, TIMEOUT_S, giant, inside
from tests.live.inside import Inside

__all__ = ["giant", "inside"]

STATEMENTS = 60  # for a chain of a thousand; ring by ring it would be thousands
STATEMENTS_A_PAGE = 10  # of one that goes on where another ended
MIDDLE_S = EVENTS // 2 * STEP_US // SECOND


class Asked:
    def __init__(self) -> None:
        self.statements = 0
        self.rows = 0


@contextmanager
def counted() -> Iterator[Asked]:
    """What is asked of the store meanwhile."""
    asked, fetch, fetchrow, fetchval = Asked(), asyncpg.Pool.fetch, asyncpg.Pool.fetchrow, asyncpg.Pool.fetchval

    def counting(call: Any) -> Any:
        async def count(*arguments: Any, **named: Any) -> Any:
            found = await call(*arguments, **named)
            asked.statements += 1
            asked.rows += len(found) if isinstance(found, list) else 1
            return found

        return count

    with (
        patch.object(asyncpg.Pool, "fetch", counting(fetch)),
        patch.object(asyncpg.Pool, "fetchrow", counting(fetchrow)),
        patch.object(asyncpg.Pool, "fetchval", counting(fetchval)),
    ):
        yield asked


async def get(inside: Inside, customer: CustomerRef, **instant: Any) -> Any:
    request = pb.GetProfileRequest(customer=customer, purpose="audit", **instant)
    return (await inside.calls.GetProfile(request, timeout=TIMEOUT_S)).profile


async def test_as_of_an_instant_it_is_asked_for_at_once_and_says_what_was_cut(inside: Inside, giant: CustomerRef) -> None:
    await get(inside, giant)
    with counted() as asked:
        profile = await get(inside, giant, valid_at={"seconds": MIDDLE_S})
    assert asked.statements < STATEMENTS
    assert {cut.field: cut.sent_count for cut in profile.truncated} == dict.fromkeys(("member_ids", "identifiers"), LISTED_AT_MOST)


async def test_as_of_an_instant_nothing_is_sent_that_had_not_happened_by_then(inside: Inside, giant: CustomerRef) -> None:
    await get(inside, giant, valid_at={"seconds": MIDDLE_S})  # which leaves what later ones go by
    with counted() as asked:
        await get(inside, giant, valid_at={"seconds": MIDDLE_S + 1})
    assert asked.rows < EVENTS // 2


async def test_as_of_a_later_instant_only_what_lies_between_is_sent(inside: Inside, giant: CustomerRef) -> None:
    await get(inside, giant, valid_at={"seconds": MIDDLE_S})
    with counted() as asked:
        await get(inside, giant, valid_at={"seconds": MIDDLE_S + 3_600})
    assert asked.rows < EVENTS // 20


async def test_many_at_once_and_a_lookup_are_answered_as_of_an_instant(inside: Inside, giant: CustomerRef) -> None:
    await get(inside, giant)
    batch = pb.BatchGetProfilesRequest(queries=[pb.ProfileQuery(customer=giant)] * 3, purpose="audit")
    lookup = pb.LookupCustomerRequest(customer=giant, purpose="audit")
    batch.valid_at.seconds = lookup.valid_at.seconds = MIDDLE_S
    with counted() as asked:
        results = (await inside.calls.BatchGetProfiles(batch, timeout=TIMEOUT_S)).results
        found = await inside.calls.LookupCustomer(lookup, timeout=TIMEOUT_S)
    assert asked.statements < 2 * STATEMENTS
    assert all(result.profile.truncated for result in results)
    assert (found.member_count, len(found.member_ids)) == (MERGES + 1, LISTED_AT_MOST)


@pytest.mark.parametrize("order", [history_pb2.CHANGE_ORDER_KNOWN, history_pb2.CHANGE_ORDER_HAPPENED])
async def test_pages_of_its_changes_go_on_where_the_one_before_ended(
    inside: Inside, giant: CustomerRef, order: history_pb2.ChangeOrder.ValueType
) -> None:
    history = HistoryServiceStub(inside.channel)
    request = history_pb2.ListProfileChangesRequest(customer=giant, purpose="audit", order=order, page_size=50)
    with counted() as first:
        page = await history.ListProfileChanges(request, timeout=TIMEOUT_S)
    assert first.statements < 2 * STATEMENTS + 2 * MERGES, "the latter for who is one now, which isn't in memory at first"
    for _ in range(3):
        assert page.next_page_token, "there is more, which is said"
        request.page_token = page.next_page_token
        with counted() as asked:
            page = await history.ListProfileChanges(request, timeout=TIMEOUT_S)
        assert asked.statements < STATEMENTS_A_PAGE
        assert asked.rows < 2 * (MERGES + 1) + 3_000, "how far each had come, and at most one page of events"


async def test_what_was_said_of_its_traits_is_told_page_by_page(inside: Inside, giant: CustomerRef) -> None:
    await get(inside, giant)
    request = rules_pb2.ExplainTraitRequest(customer=giant, purpose="audit", trait="plan", page_size=PLANS - 1)
    with counted() as asked:
        told = await ProfileRulesServiceStub(inside.channel).ExplainTrait(request, timeout=TIMEOUT_S)
    assert asked.statements < STATEMENTS
    assert asked.rows < 5 * (MERGES + 1), "none of the events that say nothing of it"
    assert (told.value.string_value, len(told.assertions), told.assertion_count) == (f"plan {PLANS - 1}", PLANS - 1, PLANS)
    assert told.next_page_token


async def test_what_differs_between_two_instants_says_how_much_was_cut(inside: Inside, giant: CustomerRef) -> None:
    await get(inside, giant)
    request = history_pb2.DiffProfileRequest(customer=giant, purpose="audit")
    request.old.known_at.seconds = 1
    request.new.valid_at.seconds = MIDDLE_S
    with counted() as asked:
        told = await HistoryServiceStub(inside.channel).DiffProfile(request, timeout=TIMEOUT_S)
    assert asked.statements < 3 * STATEMENTS
    known = await get(inside, giant, valid_at={"seconds": MIDDLE_S})
    in_all = {cut.field: cut.total_count for cut in known.truncated}
    listed = len(told.members) + len(told.identifiers) + len(told.traits)
    assert listed + told.cut_count == MERGES + 1 + in_all["identifiers"] + len(known.traits)
    assert in_all["identifiers"] <= EACH * (MERGES + 1)
