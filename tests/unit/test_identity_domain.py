"""Who an event is about."""

from shared.events.promotion import identifiers_of
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
        external_ids=[("loyalty", "L-7"), ("loyalty", "L-8")],
    )
    assert identifiers_of(event) == [
        Identifier("user_id", "u1"),
        Identifier("email", "ann@shop.example"),
        Identifier("phone", "+4930901820"),
        Identifier("loyalty", "L-7"),
        Identifier("loyalty", "L-8"),
        Identifier("anonymous_id", "browser"),
    ]
    assert Identifier("email", "b@shop.example") in identifiers_of(raw(context={"traits": {"email": "b@shop.example"}}))
    assert Identifier("email", "c@shop.example") in identifiers_of(raw(properties={"email": "c@shop.example"}))


def test_a_phone_number_is_completed_by_the_region_of_its_source_and_stays_as_it_came() -> None:
    event = raw(
        kind="identify", user_id="u1", traits={"phone": "0171 1234567"}, external_ids=[("phone", "030 901820")], region="DE"
    )
    assert identifiers_of(event)[1:] == [Identifier("phone", "+491711234567"), Identifier("phone", "+4930901820")]
    assert event.traits == {"phone": "0171 1234567"}
    assert identifiers_of(raw(traits={"phone": "0171 1234567"})) == []


def test_phones_are_promoted_by_their_platform_and_the_advertising_id_only_when_tracking_is_allowed() -> None:
    device: dict[str, object] = {"type": "iOS", "id": "D-1", "advertisingId": "AD-1", "token": "push-1"}
    of_phone = [Identifier("ios.id", "D-1"), Identifier("ios.push_token", "push-1")]
    assert identifiers_of(raw(user_id="u1", context={"device": device}))[1:] == of_phone
    tracked = identifiers_of(raw(context={"device": device | {"adTrackingEnabled": True}}))
    assert Identifier("ios.idfa", "AD-1") in tracked
    nobody = {"type": "android", "id": 7, "advertisingId": "00000000-0000-0000-0000-000000000000", "adTrackingEnabled": True}
    for other in (nobody, {"type": ["ios"], "id": "D-1"}, {"type": "browser", "id": "D-1"}, "ios"):
        assert identifiers_of(raw(context={"device": other})) == []


def test_the_address_of_a_group_is_not_the_address_of_the_person() -> None:
    assert identifiers_of(raw(kind="group", user_id="u1", target_id="acme", traits={"email": "info@acme.example"})) == [
        Identifier("user_id", "u1")
    ]


def test_placeholders_and_broken_values_name_nobody() -> None:
    event = raw(user_id="null", anonymous_id="0000", traits={"email": "not an address", "phone": "12"}, properties={"email": 7})
    assert identifiers_of(event) == []
