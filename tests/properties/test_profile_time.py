"""Laws of the past: every answer at any two instants is what a plain replay of the definition gives."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.profile.app import Instant, Profile
from services.profile.timelines import Filter, place_of
from shared.errors import CustomerError
from shared.events.consent import PurposeDefined
from tests.properties.past_store import AUDIT, SUPPORT, Past
from tests.properties.pasts import CUSTOMERS, Teller, instants, or_end, pasts
from tests.properties.plain_replay import Answer, plain_profile, plain_refusal

purposes = st.sampled_from([AUDIT, SUPPORT])


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
async def test_a_profile_of_any_instant_is_what_a_plain_replay_gives(
    steps: list[Any], snapshot_every: int, asked_at: list[Any], purpose: PurposeDefined
) -> None:
    past, teller = await told(steps, snapshot_every)
    for valid_at, percent in asked_at:
        instant = Instant(or_end(valid_at), or_end(percent and teller.known_at(percent)))
        for customer in CUSTOMERS:
            found = await asked(past, customer, purpose, instant)
            refusal = plain_refusal(past, customer, purpose, instant.is_now)
            plain = plain_profile(past, customer, instant.valid_at, instant.known_at)
            assert found == (refusal or (plain[0] if plain else "CUSTOMER_UNKNOWN"))


@given(pasts, st.integers(1, 5), instants)
async def test_a_timeline_of_any_instant_is_what_a_plain_replay_counts(steps: list[Any], snapshot_every: int, at: Any) -> None:
    past, teller = await told(steps, snapshot_every)
    instant = Instant(or_end(at[0]), or_end(at[1] and teller.known_at(at[1])))
    for customer in CUSTOMERS:
        plain = plain_profile(past, customer, instant.valid_at, instant.known_at)
        if plain is not None:
            whole = await past.timelines.page(customer, instant, AUDIT, Filter(), None, 1_000)
            assert [item.record for item in whole.items] == sorted(plain[1], key=place_of, reverse=True)
