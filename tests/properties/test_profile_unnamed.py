"""The law of names: once somebody is erased, no answer about anybody else holds their id, at any instant and on any path."""

from typing import Any

from google.protobuf.message import Message
from hypothesis import given

from services.profile.api.change_messages import change_message, diff_message
from services.profile.api.messages import profile_message
from services.profile.api.timeline import timeline_page
from services.profile.app import Instant
from services.profile.domain.clocks import Order
from services.profile.domain.diff import Wanted
from services.profile.timelines import Filter
from shared.errors import CustomerError
from shared.ids import to_text
from tests.properties.past_store import AUDIT, Past
from tests.properties.pasts import CUSTOMERS, instants, or_end, pasts
from tests.properties.plain_replay import plain_refusal, plain_unnamed
from tests.properties.test_profile_time import told

ORDERS: list[Order] = ["known", "happened"]


@given(pasts, pasts, instants, instants)
async def test_who_was_erased_is_named_in_no_answer_about_anybody_else(before: Any, after: Any, one: Any, other: Any) -> None:
    parted = [("merge", 0, 1, 5), ("track", 1, 7, "web", "a"), ("split", -1, 9), ("erase", 1, 11)]
    past, teller = await told([*before, *((0, step) for step in parted), *after], 3)
    then, later = (Instant(or_end(at), or_end(percent and teller.known_at(percent))) for at, percent in (one, other))
    for customer in CUSTOMERS:
        unnamed = plain_unnamed(past, customer)
        if unnamed and plain_refusal(past, customer, AUDIT, now=False) is None:
            said = "".join(map(str, await answers(past, customer, then, later)))
            assert not [name for name in map(to_text, unnamed) if name in said]


async def answers(past: Past, customer: bytes, then: Instant, later: Instant) -> list[Message | str]:
    """Of every path, as a client receives them."""
    found: list[Message | str] = []
    try:
        profile = await past.profiles.profile(customer, AUDIT, then)
        standing = await past.profiles.standing(customer, AUDIT, then)
        assert standing.members == profile.record.members
        found.append(profile_message(profile, AUDIT, frozenset()))
        found += timeline_page(await past.timelines.page(customer, then, AUDIT, Filter(), None, 1_000), AUDIT)[0]
        for order in ORDERS:
            walked = await past.walks.page(customer, AUDIT, order, then, None, 1_000)
            found += [change_message(one, walked.unnamed) for one in walked.told]
    except CustomerError as refused:
        found.append(str(refused.facts))
    try:
        found.append(diff_message(await past.differences.between(customer, AUDIT, then, later), AUDIT, Wanted(said_again=True)))
    except CustomerError as refused:
        found.append(str(refused.facts))
    return found
