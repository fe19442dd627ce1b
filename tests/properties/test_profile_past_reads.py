"""Laws of the other ways to ask for the past: by version, many at once, and whom an identifier named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.app import Instant
from services.profile.batches import Seen
from shared.errors import CustomerError, NotFound
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.identifiers import Identifier, hash_of
from shared.log import Record
from tests.properties.past_store import AUDIT, Past
from tests.properties.pasts import CUSTOMERS, instants, or_end, pasts
from tests.properties.plain_replay import plain_identifiers, plain_profile, plain_refusal
from tests.properties.test_profile_time import answer_of, asked, purposes, told

ASKED = [*CUSTOMERS, b"stranger".ljust(16)]


@given(pasts, st.integers(1, 5), st.none() | st.integers(0, 30), st.integers(1, 12))
async def test_a_version_is_what_was_known_once_the_stream_had_so_many_events(
    steps: list[Any], snapshot_every: int, valid_at: int | None, version: int
) -> None:
    past, _ = await told(steps, snapshot_every)
    for customer in CUSTOMERS:
        own = [record for record in past.log.records if record.entry.stream == customer]
        refusal = plain_refusal(past, customer, AUDIT, False)
        found = await at_version(past, customer, or_end(valid_at), version)
        if refusal is not None:
            assert found == refusal
        elif version > len(own):
            assert found == "VERSION_UNKNOWN"
        else:
            plain = plain_profile(past, customer, or_end(valid_at), own[version - 1].recorded_at)
            assert found == (plain[0] if plain else "CUSTOMER_UNKNOWN")
            assert not (plain and alone(plain[1], own) and valid_at is None) or plain[1][:version] == own[:version]


def alone(counted: list[Record], own: list[Record]) -> bool:
    return {record.entry.stream for record in counted} == {record.entry.stream for record in own}


async def at_version(past: Past, customer: bytes, valid_at: int, version: int) -> Any:
    try:
        instant = await past.profiles.at_version(customer, AUDIT, valid_at, version)
    except CustomerError as refused:
        return refused.reason
    return await asked(past, customer, AUDIT, instant)


@given(pasts, st.integers(1, 5), instants, purposes, st.lists(st.sampled_from(ASKED), min_size=1, max_size=6))
async def test_many_of_the_past_are_each_by_itself(
    steps: list[Any], snapshot_every: int, at: Any, purpose: PurposeDefined, customers: list[bytes]
) -> None:
    past, teller = await told(steps, snapshot_every)
    instant = Instant(or_end(at[0]), or_end(at[1] and teller.known_at(at[1])))
    together = await past.batches.outcomes(customers, purpose, instant, with_verified=True)
    found = [answer_of(one.profile) if isinstance(one, Seen) else one.reason for one in together]
    assert found == [await asked(past, customer, purpose, instant) for customer in customers]


@given(
    pasts, st.none() | st.integers(0, 30), st.lists(st.tuples(st.sampled_from(ASKED), st.integers(0, 9)), min_size=1, max_size=6)
)
async def test_many_versions_are_each_by_itself(steps: list[Any], at: int | None, queries: list[tuple[bytes, int]]) -> None:
    past, _ = await told(steps, 3)
    instant, named, versions = Instant(or_end(at)), [one for one, _ in queries], [version for _, version in queries]
    together = await past.batches.outcomes(named, AUDIT, instant, versions, with_verified=True)
    found = [answer_of(one.profile) if isinstance(one, Seen) else one.reason for one in together]
    assert found == [
        await (at_version(past, one, instant.valid_at, version) if version else asked(past, one, AUDIT, instant))
        for one, version in queries
    ]


@given(pasts, instants, st.sampled_from("abc"))
async def test_an_identifier_named_then_whoever_had_it_then(steps: list[Any], at: Any, letter: str) -> None:
    past, teller = await told(steps, 3)
    instant = Instant(or_end(at[0]), or_end(at[1] and teller.known_at(at[1])))
    identifier = Identifier("email", f"{letter}@shop.example")
    value_hash = hash_of(identifier, past.profiles._vault.lookup_key)
    erased = {r.entry.stream for r in past.log.records if isinstance(r.entry.public(), events.CustomerErased)}
    owners = {one for one in CUSTOMERS if value_hash in plain_identifiers(past, one, instant.valid_at, instant.known_at)}
    if owners - erased:
        assert await past.profiles.customer_then(identifier, instant) in owners - erased
    else:
        with pytest.raises(NotFound, match="no customer has this identifier"):
            await past.profiles.customer_then(identifier, instant)
