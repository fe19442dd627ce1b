"""What scripts and eyes get to see of a message."""

import pytest
from c360.consent.v1 import consent_pb2, registry_pb2
from c360.ingest.v1 import ingest_pb2
from c360.profile.v1 import profile_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.cli import messages, render
from services.cli.errors import Misused
from services.cli.notation import LogPosition, parse_person


def test_a_profile_as_json_data() -> None:
    profile = profile_pb2.Profile(customer_id="c1", version=2**60)
    profile.found_time.FromMicroseconds(1_772_532_131_000_052)
    profile.positions.add(log="profile", partition=2, number=17)
    profile.traits["visits"].value.number_value = 3
    profile.traits["visits"].source = "web"
    profile.traits["address"].value.struct_value.update({"zip": "1010", "city": "Wien", "floor": 2.5})
    shown = messages.plain(profile)
    assert shown["version"] == 2**60
    assert shown["found_time"] == "2026-03-03T10:02:11.000052Z"
    assert shown["last_seen_time"] is None
    assert shown["positions"] == ["profile/2/17"]
    assert shown["withheld"] == []
    unset = {"occur_time": None, "event_id": "", "verified": False, "cut": False}
    assert shown["traits"]["visits"] == {"value": 3, "source": "web"} | unset
    assert list(shown["traits"]) == ["address", "visits"]
    assert shown["traits"]["address"]["value"] == {"city": "Wien", "floor": 2.5, "zip": "1010"}


def test_enums_are_the_words_that_commands_accept() -> None:
    purpose = registry_pb2.Purpose(legal_basis=registry_pb2.LEGAL_BASIS_LEGITIMATE_INTEREST)
    assert messages.plain(purpose)["legal_basis"] == "legitimate-interest"
    decision = consent_pb2.Decision(outcome=consent_pb2.OUTCOME_WITHDRAWN)
    assert messages.plain(decision)["outcome"] == "withdrawn"
    result = ingest_pb2.EventResult(status=ingest_pb2.EVENT_STATUS_ACCEPTED)
    assert messages.plain(result)["status"] == "accepted"


def test_a_trait_set_to_null_is_null() -> None:
    trait = profile_pb2.Trait()
    trait.value.null_value = 0  # type: ignore[assignment]
    assert messages.plain(trait)["value"] is None


def test_a_number_that_json_does_not_have_is_told_as_a_text() -> None:
    trait = profile_pb2.Trait()
    trait.value.list_value.extend([float("nan"), float("-inf"), 1e300, True, None])
    assert messages.plain(trait)["value"] == ["nan", "-inf", 1e300, True, None]


def test_a_person_becomes_a_reference() -> None:
    by_id = messages.customer_ref(parse_person("01890a5d-ac96-774b-bcce-b302099a8057"))
    by_email = messages.customer_ref(parse_person("email:ann@example.com"))
    assert by_id.customer_id == "01890a5d-ac96-774b-bcce-b302099a8057"
    assert (by_email.identifier.namespace, by_email.identifier.value) == ("email", "ann@example.com")


def test_one_position_stands_for_several_of_its_partition() -> None:
    newest = messages.newest([LogPosition("ingest", 0, 4), LogPosition("ingest", 0, 9)])
    assert newest is not None
    assert newest.number == 9
    assert messages.newest(None) is None
    with pytest.raises(Misused):
        messages.newest([LogPosition("ingest", 0, 4), LogPosition("consent", 0, 9)])


def test_an_instant_without_a_fraction_is_shown_without_one() -> None:
    assert messages.instant_text(Timestamp(seconds=0)) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), ("", "-"), ([], "-"), (["a", "b"], "a, b"), (True, "true"), ({"a": 1}, '{"a": 1}')],
)
def test_cells_read_like_data(value: object, shown: str) -> None:
    assert render.as_text(value) == shown


def test_data_cannot_command_the_terminal() -> None:
    assert render.cell("\x1b[2J[red]Ann[/red]\nÖ").plain == "\\x1b[2J[red]Ann[/red]\\x0aÖ"
