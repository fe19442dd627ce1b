"""Laws of the past: every answer at any two instants is what a plain replay of the definition gives."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.profile import clusters
from services.profile.app import Instant
from services.profile.domain.clocks import Order
from services.profile.domain.diff import ByEvent, Difference, IdentifierChange, MemberChange, TraitChange, Wanted
from services.profile.domain.golden import GoldenTrait
from services.profile.profile import Profile
from services.profile.tables.history import History
from services.profile.timelines import Filter, place_of
from services.profile.walking import EVERYTHING, Told
from shared.errors import CustomerError
from shared.events.consent import PurposeDefined
from shared.pieces import AT_ONCE
from tests.properties.past_store import AUDIT, SUPPORT, Past
from tests.properties.pasts import CUSTOMERS, Teller, instants, or_end, pasts, steps
from tests.properties.plain_replay import (
    Answer,
    plain_events,
    plain_profile,
    plain_refusal,
    plain_refusal_of_others,
    plain_unnamed,
)
from tests.turns import Turns

purposes = st.sampled_from([AUDIT, SUPPORT])

# One who was erased isn't told that whoever was one with her, and is restricted, has parted from her.
PARTED_FROM_THE_ERASED = [(0, ("restrict", 0, 1)), (0, ("merge", 0, 1, 1)), (0, ("erase", 1, 1)), (0, ("split", 0, 1))]


def answer_of(profile: Profile) -> Answer:
    record = profile.record
    return Answer(
        members=record.members,
        traits={name: (t.value, t.source, t.occurred_at, t.event_id) for name, t in record.traits.items()},
        identifiers={value_hash: linked.value for value_hash, linked in record.identifiers.items()},
        founded_at=record.founded_at,
        last_seen_at=record.last_seen_at,
        restricted=record.restricted,
        version=profile.version,
        redacted=profile.redacted,
    )


async def told(steps: Sequence[tuple[int, tuple[Any, ...]]], snapshot_every: int) -> tuple[Past, Teller]:
    """A past, read now and then while it came to be: reads leave snapshots behind."""
    past = Past(snapshot_every)
    teller = Teller(past)
    for more, step in steps:
        if step[0] == "read":
            await asked(past, CUSTOMERS[step[1]], AUDIT, Instant(step[2], teller.known_at(step[3])))
        teller.play(step)
        if not more:
            teller.commit()
    teller.commit()
    return past, teller


async def asked(past: Past, customer: bytes, purpose: PurposeDefined, instant: Instant) -> Answer | str:
    try:
        return answer_of(await past.profiles.profile(customer, purpose, instant))
    except CustomerError as refused:
        return refused.reason


@given(pasts, st.integers(1, 5), st.lists(instants, min_size=1, max_size=6), purposes)
@example(PARTED_FROM_THE_ERASED, 1, [(None, 67)], SUPPORT)
async def test_a_profile_of_any_instant_is_what_a_plain_replay_gives(
    steps: list[Any], snapshot_every: int, asked_at: list[Any], purpose: PurposeDefined
) -> None:
    past, teller = await told(steps, snapshot_every)
    for number, (valid_at, percent) in enumerate(asked_at):
        instant = Instant(or_end(valid_at), or_end(percent and teller.known_at(percent)))
        for customer in CUSTOMERS:
            with patch.object(clusters, "RINGS_ONE_BY_ONE", 1 + number % 2):  # so that four are a long chain
                found = await asked(past, customer, purpose, instant)
            refusal = plain_refusal(past, customer, purpose, instant.is_now)
            refusal = refusal or plain_refusal_of_others(past, customer, purpose, instant)
            plain = plain_profile(past, customer, instant.valid_at, instant.known_at)
            assert found == (refusal or (plain[0] if plain else "CUSTOMER_UNKNOWN"))


def of_the_first_two(step: tuple[Any, ...]) -> tuple[Any, ...]:
    kind, *arguments = step
    if kind == "merge":
        return "merge", 0, 1, arguments[2]
    return step if kind in ("unlink", "split") else (kind, arguments[0] % 2, *arguments[1:])


long_pasts = st.lists(st.tuples(st.integers(0, 3), steps.map(of_the_first_two)), min_size=15, max_size=45)


@given(long_pasts, st.integers(1, 2), st.lists(instants, min_size=3, max_size=8))
async def test_a_history_that_came_in_no_order_is_read_as_a_plain_replay_gives_it(
    told_steps: list[Any], snapshot_every: int, asked_at: list[Any]
) -> None:
    """Joined of stretches that were put in order by reads before, and of what is behind them."""
    past, teller = await told(told_steps, snapshot_every)
    for valid_at, percent in asked_at:
        instant = Instant(or_end(valid_at), or_end(percent and teller.known_at(percent)))
        for customer in CUSTOMERS[:2]:
            plain = plain_profile(past, customer, instant.valid_at, instant.known_at)
            refusal = plain_refusal(past, customer, AUDIT, instant.is_now)
            assert await asked(past, customer, AUDIT, instant) == (refusal or (plain[0] if plain else "CUSTOMER_UNKNOWN"))


@given(pasts, st.integers(1, 5), instants)
async def test_a_timeline_of_any_instant_is_what_a_plain_replay_counts(steps: list[Any], snapshot_every: int, at: Any) -> None:
    past, teller = await told(steps, snapshot_every)
    instant = Instant(or_end(at[0]), or_end(at[1] and teller.known_at(at[1])))
    for customer in CUSTOMERS:
        plain = plain_profile(past, customer, instant.valid_at, instant.known_at)
        if plain is not None:
            whole = await past.timelines.page(customer, instant, AUDIT, Filter(), None, 1_000)
            assert [item.record for item in whole.items] == sorted(plain[1], key=place_of, reverse=True)


points = st.tuples(instants, instants)


@given(pasts, st.integers(1, 5), points)
async def test_a_difference_leads_from_one_answer_to_the_other_and_back(steps: list[Any], snapshot_every: int, at: Any) -> None:
    past, teller = await told(steps, snapshot_every)
    old, new = (Instant(or_end(valid_at), or_end(percent and teller.known_at(percent))) for valid_at, percent in at)
    for customer in CUSTOMERS:
        before, after = plain(past, customer, old), plain(past, customer, new)
        if not (before or after):
            continue
        if isinstance(refusal := plain_refusal(past, customer, AUDIT, False), str):
            with pytest.raises(CustomerError) as refused:
                await past.differences.between(customer, AUDIT, old, new)
            assert refused.value.reason == refusal
            continue
        there = (await past.differences.between(customer, AUDIT, old, new)).difference
        back = (await past.differences.between(customer, AUDIT, new, old)).difference
        unnamed = plain_unnamed(past, customer)
        assert applied(there, before, unnamed) == told_of(after)
        assert applied(back, after, unnamed) == told_of(before)
        assert [(c.name, c.new, c.old) for c in back.traits] == [(c.name, c.old, c.new) for c in there.traits]
        assert [(c.value_hash, c.new, c.old) for c in back.identifiers] == [(c.value_hash, c.old, c.new) for c in there.identifiers]
        assert [(c.customer, not c.joined) for c in back.members] == [(c.customer, c.joined) for c in there.members]


@given(pasts, instants)
async def test_nothing_differs_between_a_point_and_itself(steps: list[Any], at: Any) -> None:
    past, teller = await told(steps, 3)
    instant = Instant(or_end(at[0]), or_end(at[1] and teller.known_at(at[1])))
    for customer in CUSTOMERS:
        if plain(past, customer, instant) and plain_refusal(past, customer, AUDIT, False) is None:
            found = (await past.differences.between(customer, AUDIT, instant, instant)).difference
            assert (found.traits, found.identifiers, found.members) == ([], [], [])


@given(pasts, points)
async def test_every_change_has_a_cause_that_counts_at_one_of_the_two_points_only(steps: list[Any], at: Any) -> None:
    past, teller = await told(steps, 3)
    old, new = (Instant(or_end(valid_at), or_end(percent and teller.known_at(percent))) for valid_at, percent in at)
    for customer in CUSTOMERS:
        if plain_refusal(past, customer, AUDIT, False) is not None or not (
            plain(past, customer, old) or plain(past, customer, new)
        ):
            continue
        there = (await past.differences.between(customer, AUDIT, old, new)).difference
        counting = [plain_events(past, customer, one.valid_at, one.known_at)[1] for one in (old, new)]
        counted = [{record.entry.event_id for record in records} for records in counting]
        changes: list[TraitChange | IdentifierChange | MemberChange] = [*there.traits, *there.identifiers, *there.members]
        for cause in [change.cause for change in changes]:
            assert isinstance(cause, ByEvent)
            event_id = cause.entry.event_id
            assert (event_id in counted[0], event_id in counted[1]) == (cause.undone, not cause.undone)


def plain(past: Past, customer: bytes, instant: Instant) -> Answer | None:
    found = plain_profile(past, customer, instant.valid_at, instant.known_at)
    return found[0] if found else None


def told_of(answer: Answer | None) -> tuple[Any, ...]:
    return (answer.traits, answer.identifiers, set(answer.members)) if answer else ({}, {}, set())


def applied(found: Difference, answer: Answer | None, unnamed: set[bytes]) -> tuple[Any, ...]:
    """What is told, changed as the difference says; of the unnamed no answer says that they are members."""
    traits, identifiers, members = told_of(answer)
    for change in found.traits:
        assert traits.get(change.name) == trait_told(change.old)
        traits = {name: told for name, told in traits.items() if name != change.name}
        traits |= {change.name: trait_told(change.new)} if change.new else {}
    for linked in found.identifiers:
        assert (linked.value_hash in identifiers) == (linked.old is not None)
        identifiers = {value_hash: value for value_hash, value in identifiers.items() if value_hash != linked.value_hash}
        identifiers |= {linked.value_hash: linked.new.value} if linked.new else {}
    for member in (one for one in found.members if one.customer not in unnamed):
        assert (member.customer in members) != member.joined
        members = members ^ {member.customer}
    return traits, identifiers, members


def trait_told(trait: GoldenTrait | None) -> tuple[Any, ...] | None:
    return (trait.value, trait.source, trait.occurred_at, trait.event_id) if trait else None


orders: st.SearchStrategy[Order] = st.sampled_from(["known", "happened"])


@given(pasts, instants, orders, st.integers(1, 4), st.integers(2, 5))
async def test_the_changes_in_their_order_lead_from_nothing_to_the_answer(
    steps: list[Any], at: Any, order: Order, limit: int, events_a_page: int
) -> None:
    past, teller = await told(steps, 3)
    until = Instant(or_end(at[0]), or_end(at[1] and teller.known_at(at[1])))
    for customer in CUSTOMERS:
        final = plain(past, customer, until)
        if final is None or plain_refusal(past, customer, AUDIT, False) is not None:
            continue
        with patch("services.profile.walking.EVENTS_A_PAGE", events_a_page), patch.object(clusters, "RINGS_ONE_BY_ONE", 1):
            changes = await walked(past, customer, order, until, limit)
        assert changes == await walked(past, customer, order, until, 1_000), "whatever the pages"
        answer: Answer | None = None
        for instant, at_once in groupby(changes, key=lambda one: one.at):
            point = Instant(until.valid_at, instant) if order == "known" else Instant(instant, until.known_at)
            given = [one.change for one in at_once]
            found = Difference(
                [change for change in given if isinstance(change, TraitChange)],
                [change for change in given if isinstance(change, IdentifierChange)],
                [change for change in given if isinstance(change, MemberChange)],
            )
            now = plain(past, customer, point)
            assert applied(found, answer, plain_unnamed(past, customer)) == told_of(now)
            assert all(
                (isinstance(change.cause, ByEvent) and (order == "known") == (change.cause.recorded_at == instant))
                or order == "happened"
                for change in given
            )
            answer = now
        assert told_of(answer) == told_of(final)


@given(pasts, orders)
async def test_a_value_that_was_only_said_again_is_told_to_who_asks_for_that(steps: list[Any], order: Order) -> None:
    past, _ = await told(steps, 3)
    for customer in CUSTOMERS:
        if plain(past, customer, Instant()) is None or plain_refusal(past, customer, AUDIT, False) is not None:
            continue
        values: dict[str, Any] = {}
        everything = await walked(past, customer, order, Instant(), 1_000)
        for one in everything:
            if isinstance(change := one.change, TraitChange):
                value = change.new and change.new.value
                assert change.said_again == (change.new is not None and values.get(change.name) == value), (
                    "nothing is verified here"
                )
                values[change.name] = value
        again = {one.place for one in everything if isinstance(one.change, TraitChange) and one.change.said_again}
        assert await walked(past, customer, order, Instant(), 2, Wanted()) == [one for one in everything if one.place not in again]


async def walked(past: Past, customer: bytes, order: Order, until: Instant, limit: int, wanted: Wanted = EVERYTHING) -> list[Told]:
    """All pages of it, cut after `limit` as whoever shows them may."""
    changes: list[Told] = []
    after = None
    while True:
        page = await past.walks.page(customer, AUDIT, order, until, after, limit, wanted=wanted)
        changes += page.told[:limit]
        after = page.rest if len(page.told) <= limit else page.told[limit - 1].place
        if after is None:
            return changes


async def test_others_have_their_turn_while_what_was_learnt_at_one_instant_is_told() -> None:
    past = Past()
    teller = Teller(past)
    for number in range(4 * AT_ONCE):
        teller.play(("track", 0, 1 + number, "web", ""))
    teller.commit()
    async with Turns() as turns:
        with patch.object(History, "add", turns.of(History.add)):
            await walked(past, CUSTOMERS[0], "known", Instant(), 100)
    assert 0 < turns.most <= AT_ONCE
