"""Whom time alone shows or hides: who follows everybody looks at each of them once that is so, whenever they look and however many are due at once."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.profile import passing
from services.profile.passing import Passing
from services.profile.tables.consents import Due, Span
from shared.consent_overlays import known_ages, youngest
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, KnownAge, PurposeDefined
from shared.instants import DAY, years_after
from tests.properties.people_read import decision, purpose

STARTS = st.integers(0, 40 * 366).map(lambda days: days * DAY)
LEAP_DAYS = st.sampled_from([years_after(0, years) + 59 * DAY for years in range(2, 38, 4)])  # 29 February, from 1972 on
MOMENTS = st.integers(0, DAY)
YEARS = 16
LASTING = 30  # days


class Memory:
    """What was decided, by whom each is a customer of their own."""

    def __init__(self, decided: Sequence[DecisionRecorded]) -> None:
        self.decided = decided

    async def due_within(self, spans: list[Span], after: tuple[int, bytes], at_most: int) -> list[Due]:
        found = {
            Due(one.identifier_hash, one.decided_at + span.shift)
            for span in spans
            for one in self.decided
            if one.purpose == span.purpose and span.after < one.decided_at <= span.until
        }
        ordered = sorted((one.due_at, one.value_hash) for one in found)
        return [Due(value_hash, due_at) for due_at, value_hash in ordered if (due_at, value_hash) > after][:at_most]

    async def customers_of(self, hashes: set[bytes]) -> dict[bytes, bytes]:
        return {one: one for one in hashes}


def an_age(number: int, at: int, under: int, at_least: int) -> DecisionRecorded:
    made = decision(number.to_bytes(16), "age_known", at, purpose=EVERY_PURPOSE)
    return msgspec.structs.replace(made, age=KnownAge(under=under, at_least=at_least, by="desk", reason="letter"))


@st.composite
def ages(draw: st.DrawFn) -> list[DecisionRecorded]:
    drawn = draw(st.lists(st.tuples(STARTS | LEAP_DAYS, MOMENTS, st.integers(1, YEARS), st.integers(0, YEARS)), max_size=12))
    return [
        an_age(number, day + moment, max(under, at_least + 1), at_least)
        for number, (day, moment, under, at_least) in enumerate(drawn)
        if at_least < YEARS
    ]


def due(one: DecisionRecorded) -> int:
    """By the rule."""
    return youngest(known_ages([one]), YEARS).until if one.age else one.decided_at + LASTING * DAY


async def follow(
    decided: Sequence[DecisionRecorded], asking: PurposeDefined, looks: list[int], since: int
) -> dict[bytes, list[int]]:
    """By customer when they were looked at, once nothing was left behind."""
    found, now = dict[bytes, list[int]](), since
    memory = cast(Any, Memory(decided))
    follower = Passing(memory, memory, lambda: now, since, every=0)
    for now in looks:
        while True:
            before = follower.places()
            for step in await follower.page(asking):
                found.setdefault(step.customer, []).append(now)
                assert before[step.log] <= step.number <= follower.places()[step.log], "from there on it can be gone on with"
            if not follower.is_behind:
                break
    return found


@given(ages(), st.data())
def test_whoever_comes_of_age_is_looked_at_by_the_first_look_from_then_on(
    decided: list[DecisionRecorded], data: st.DataObject
) -> None:
    """Also who was born on 29 February, after any break, and where as many are due at once as are looked at together."""
    asking = msgspec.structs.replace(purpose("legitimate_interest", name="ads"), minors_under=YEARS)
    expected = {one.identifier_hash: due(one) for one in decided}
    near = data.draw(st.sampled_from(sorted(expected.values()) or [0]))
    instants = data.draw(st.lists(st.integers(near - 3 * DAY, near + 40 * DAY), min_size=2, max_size=6))
    since, *looks = sorted(instants)
    looked = asyncio.run(follow(decided, asking, looks, since))
    for customer, at in expected.items():
        first = next((now for now in looks if now >= at), None)
        if since < at and first is not None:
            assert first in looked.get(customer, ())


@given(st.lists(st.tuples(STARTS, MOMENTS), max_size=12), st.integers(1, 3), st.data())
def test_whose_grant_ran_out_is_looked_at_once(drawn: list[tuple[int, int]], together: int, data: st.DataObject) -> None:
    decided = [
        decision(number.to_bytes(16), "granted", day // 50 + moment // DAY, purpose="news")
        for number, (day, moment) in enumerate(drawn)
    ]
    asking = msgspec.structs.replace(purpose("consent", name="news"), expires_after_days=LASTING)
    last = max((due(one) for one in decided), default=0)
    looks = [*sorted(data.draw(st.lists(st.integers(0, last), max_size=5))), last]
    before, passing.PAGE_PASSED = passing.PAGE_PASSED, together  # type: ignore[misc]
    try:
        looked = asyncio.run(follow(decided, asking, looks, 0))
    finally:
        passing.PAGE_PASSED = before  # type: ignore[misc]
    assert looked == {one.identifier_hash: [next(now for now in looks if now >= due(one))] for one in decided}
