"""Who an event is about."""

from services.identity.domain import identifiers_of
from services.identity.graph.rules import DEFAULT_RULES
from shared.events.wire import RawEvent
from shared.identifiers import Identifier


def raw(**fields: object) -> RawEvent:
    return RawEvent(**{"kind": "track", "message_id": "m", "source": "web", "occurred_at": 1, "received_at": 1} | fields)  # type: ignore[arg-type]


def test_identifiers_are_promoted_from_traits_context_and_properties_strongest_first() -> None:
    event = raw(
        kind="identify",
        user_id="u1",
        anonymous_id="browser",
        traits={"email": "Ann@Shop.example", "phone": "+49 30 901820"},
        external_ids={"loyalty": "L-7"},
    )
    assert identifiers_of(event, DEFAULT_RULES) == [
        Identifier("user_id", "u1"),
        Identifier("email", "ann@shop.example"),
        Identifier("phone", "+4930901820"),
        Identifier("loyalty", "L-7"),
        Identifier("anonymous_id", "browser"),
    ]
    assert Identifier("email", "b@shop.example") in identifiers_of(
        raw(context={"traits": {"email": "b@shop.example"}}), DEFAULT_RULES
    )
    assert Identifier("email", "c@shop.example") in identifiers_of(raw(properties={"email": "c@shop.example"}), DEFAULT_RULES)


def test_the_address_of_a_group_is_not_the_address_of_the_person() -> None:
    event = raw(kind="group", user_id="u1", target_id="acme", traits={"email": "info@acme.example"})
    assert identifiers_of(event, DEFAULT_RULES) == [Identifier("user_id", "u1")]


def test_placeholders_and_broken_values_name_nobody() -> None:
    event = raw(user_id="null", anonymous_id="0000", traits={"email": "not an address", "phone": "12"}, properties={"email": 7})
    assert identifiers_of(event, DEFAULT_RULES) == []
