"""Who is who: given a graph, when identifiers are seen together, then what is concluded."""

from itertools import count

from services.identity.domain import (
    MAX_CLUSTER_IDENTIFIERS,
    Conclusion,
    Founded,
    Graph,
    Linked,
    Merged,
    Proposed,
    Sighting,
    decide,
)
from shared.events.promotion import identifiers_of
from shared.events.wire import RawEvent
from shared.identifiers import Identifier, hash_of, normalise, strength

KEY = b"k" * 32
numbers = count(1)


def sighting(*identifiers: str) -> Sighting:
    """From "user_id:u1", "email:a@b.example", ...; ordered as an event's would be."""
    parsed = [normalise(*text.split(":", 1)) for text in identifiers]
    parsed.sort(key=lambda identifier: (strength(identifier.namespace), identifier))
    return Sighting(next(numbers).to_bytes(16), [(hash_of(identifier, KEY), identifier) for identifier in parsed])


def new_id() -> bytes:
    return next(numbers).to_bytes(16)


def see(graph: Graph, *identifiers: str) -> tuple[bytes, list[Conclusion]]:
    return decide(graph, sighting(*identifiers), new_id)


def kinds(conclusions: list[Conclusion]) -> list[type]:
    return [type(conclusion) for conclusion in conclusions]


def test_unknown_identifiers_found_a_customer_and_are_linked_to_it() -> None:
    customer, conclusions = see(Graph(), "user_id:u1", "email:ann@shop.example")
    assert kinds(conclusions) == [Founded, Linked, Linked]
    assert {c.customer for c in conclusions if isinstance(c, Founded | Linked)} == {customer}


def test_a_known_identifier_concludes_nothing_new() -> None:
    graph = Graph()
    first, _ = see(graph, "user_id:u1")
    again, conclusions = see(graph, "user_id:u1")
    assert (again, conclusions) == (first, [])


def test_an_unknown_identifier_joins_the_customer_it_is_seen_with() -> None:
    graph = Graph()
    customer, _ = see(graph, "anonymous_id:browser")
    known, conclusions = see(graph, "anonymous_id:browser", "user_id:u1")
    assert known == customer
    assert kinds(conclusions) == [Linked]


def test_two_customers_seen_together_are_merged_and_the_older_is_canonical() -> None:
    graph = Graph()
    anonymous, _ = see(graph, "anonymous_id:browser")
    known, _ = see(graph, "user_id:u1")
    home, conclusions = see(graph, "user_id:u1", "anonymous_id:browser")
    assert home == known  # the event goes to the strongest identifier's customer
    assert kinds(conclusions) == [Merged]
    assert graph.clusters[known].canonical == anonymous
    assert graph.clusters[known].members == {anonymous, known}


def test_merged_customers_are_not_merged_again() -> None:
    graph = Graph()
    see(graph, "anonymous_id:browser")
    see(graph, "user_id:u1")
    see(graph, "user_id:u1", "anonymous_id:browser")
    assert see(graph, "user_id:u1", "anonymous_id:browser")[1] == []


def test_a_second_person_on_a_shared_device_gets_a_customer_of_their_own() -> None:
    graph = Graph()
    first, _ = see(graph, "user_id:u1", "anonymous_id:family-tablet")
    second, conclusions = see(graph, "user_id:u2", "anonymous_id:family-tablet")
    assert second != first
    assert kinds(conclusions) == [Founded, Linked]


def test_two_known_people_with_one_address_are_proposed_not_merged() -> None:
    graph = Graph()
    see(graph, "user_id:u1", "email:family@shop.example")
    see(graph, "user_id:u2")
    _, conclusions = see(graph, "user_id:u2", "email:family@shop.example")
    assert [c.reason for c in conclusions if isinstance(c, Proposed)] == ["TWO_KNOWN_PEOPLE"]
    assert see(graph, "user_id:u2", "email:family@shop.example")[1] == [], "a proposal is made once"


def test_a_cluster_that_would_grow_past_its_bound_is_proposed() -> None:
    graph = Graph()
    for number in range(MAX_CLUSTER_IDENTIFIERS - 1):
        see(graph, "user_id:u1", f"anonymous_id:device-{number}")
    see(graph, "email:kiosk@shop.example", "anonymous_id:kiosk")
    _, conclusions = see(graph, "user_id:u1", "email:kiosk@shop.example")
    assert [c.reason for c in conclusions if isinstance(c, Proposed)] == ["CLUSTER_TOO_LARGE"]


def test_a_kiosk_device_does_not_collect_everyone_who_used_it() -> None:
    graph = Graph()
    for number in range(2 * MAX_CLUSTER_IDENTIFIERS):
        see(graph, "anonymous_id:kiosk", f"email:visitor{number}@shop.example")
    assert max(cluster.size for cluster in graph.clusters.values()) <= MAX_CLUSTER_IDENTIFIERS


def test_hardware_joins_what_one_visitor_did_under_several_anonymous_ids_until_it_has_a_name() -> None:
    graph = Graph()
    first, _ = see(graph, "anonymous_id:a1", "ios.id:tablet")
    assert see(graph, "anonymous_id:a2", "ios.id:tablet")[0] == first
    assert see(graph, "email:ann@shop.example", "anonymous_id:a2", "ios.id:tablet")[0] == first
    somebody, _ = see(graph, "anonymous_id:a3", "ios.id:tablet")
    assert somebody != first, "ann has left, and who came after her is not known"
    assert see(graph, "email:bob@shop.example", "anonymous_id:a3", "ios.id:tablet")[0] == somebody


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
