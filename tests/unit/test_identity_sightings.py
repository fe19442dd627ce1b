"""What events say of whom they are about is understood once; nobody may notice."""

import hashlib
import hmac
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain.sighting import ITSELF, Understanding
from services.identity.graph.rules import DEFAULT_RULES, Rules
from shared.events.promotion import identifiers_of
from shared.events.wire import RawEvent
from shared.identifiers import Identifier, hash_of

KEY = b"k" * 32
ANN, BEN = Identifier("user_id", "ann"), Identifier("user_id", "ben")
RULES = msgspec.structs.replace(DEFAULT_RULES, blocked=frozenset({hash_of(BEN, KEY)}))

phones: st.SearchStrategy[Any] = st.sampled_from(["0151 23456789", "+49 151 23456789", "000", 7, None])
events = st.builds(
    RawEvent,
    kind=st.sampled_from(["track", "identify", "group", "alias"]),
    message_id=st.uuids().map(str),
    source=st.just("web"),
    user_id=st.sampled_from([None, "ann", "ben", "null"]),
    anonymous_id=st.sampled_from([None, "tablet", "ann"]),
    external_ids=st.lists(st.sampled_from([("loyalty", "7"), ("user_id", "ben")]), unique=True),
    target_id=st.sampled_from(["", "tablet"]),
    traits=st.fixed_dictionaries({}, optional={"phone": phones}),
    properties=st.fixed_dictionaries({}, optional={"phone": phones, "email": st.sampled_from(["a@shop.example", ""])}),
    context=st.fixed_dictionaries(
        {}, optional={"device": st.sampled_from([{"type": "ios", "id": "d"}, {"type": "tv", "id": "d"}, "ios"])}
    ),
    region=st.sampled_from(["", "DE", "US"]),
    occurred_at=st.integers(1, 9),
    received_at=st.integers(1, 9),
)


@given(st.lists(events, max_size=12))
def test_an_event_is_understood_alike_alone_and_among_others(unit: list[RawEvent]) -> None:
    by_id = {event.message_id.encode(): event for event in unit}
    together = Understanding(KEY).sightings_of(by_id, RULES)
    assert together == [one for item in by_id.items() for one in Understanding(KEY).sightings_of(dict([item]), RULES)]
    for sighting, event in zip(together, by_id.values(), strict=True):
        itself = Identifier(ITSELF, event.message_id.encode().hex())
        assert {identifier for _, identifier in sighting.identifiers} == set(identifiers_of(event) or [itself])
        assert all(value_hash == hash_of(identifier, KEY) for value_hash, identifier in sighting.identifiers)
        assert [value_hash for value_hash, _ in sighting.identifiers] == [node.value_hash for node in sighting.seen().nodes]
        usable = [node for node in sighting.seen().nodes if node.value_hash not in RULES.blocked]
        assert sighting.seen().resolving == (usable[0] if usable else (ITSELF, hash_of(itself, KEY)))
        assert sighting.occurred_at == min(event.occurred_at, event.received_at)


@given(st.lists(st.tuples(st.lists(events, max_size=4), st.sampled_from([RULES, DEFAULT_RULES]), st.booleans()), max_size=6))
def test_a_unit_is_understood_alike_whatever_came_before_and_whatever_was_forgotten(
    units: list[tuple[list[RawEvent], Rules, bool]],
) -> None:
    lasting = Understanding(KEY, limit_bytes=2_000)
    for unit, rules, forgotten in units:
        by_id = {event.message_id.encode(): event for event in unit}
        assert lasting.sightings_of(by_id, rules) == Understanding(KEY).sightings_of(by_id, rules)
        if forgotten:
            lasting.clear()
            assert not lasting._named


@given(st.text(), st.text(), st.binary(max_size=100))
def test_the_hash_of_an_identifier_is_hmac_of_it(namespace: str, value: str, key: bytes) -> None:
    said = hashlib.sha256(value.encode()).hexdigest() if namespace == "email" else value
    assert hash_of(Identifier(namespace, value), key) == hmac.digest(key, f"{namespace}\0{said}".encode(), "sha256")[:16]
