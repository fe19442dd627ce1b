"""Normal forms: what is one value is compared as one, and what says nothing is missing."""

import pytest

from services.identity.matching.households import household_of
from services.identity.matching.record import make_record, normalise


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("given_name", "JÖRG ", "jorg"),
        ("given_name", "\uff2aörg", "Jo\u0308rg"),
        ("family_name", "O'Neill-Smith", "ONeill Smith"),
        ("family_name", "Łukasz", "lukasz"),
        ("birth_date", "1990-04-03", "03.04.1990"),
        ("birth_date", "19900403", "1990-4-3T00:00:00Z"),
        ("birth_date", "1990-13-04", "1990-04-13"),
        ("street", "1 Main Street", "Main St. 1"),
        ("street", "Hauptstraße 5", "5 Hauptstr."),
        ("postcode", "sw1a 1aa", "SW1A1AA"),
        ("email", "Ann@Example.com", "ann@example.com"),
        ("national_id", "123-45-6780", "123 456 780"),
    ],
)
def test_one_value_written_in_two_ways_is_one(field: str, one: str, other: str) -> None:
    first, second = normalise({field: one}), normalise({field: other})
    assert getattr(first, field) is not None
    assert first == second


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("given_name", "null"),
        ("given_name", "Test"),
        ("family_name", "000"),
        ("birth_date", "1900-01-01"),
        ("birth_date", "0000-00-00"),
        ("birth_date", "yesterday"),
        ("street", "12"),
        ("postcode", "00000"),
        ("email", "test@test.com"),
        ("email", "nobody"),
        ("phone", "000000000"),
        ("national_id", "999999999"),
        ("national_id", "123456789"),
    ],
)
def test_what_says_nothing_is_missing(field: str, value: str) -> None:
    assert not any(normalise({field: value}))


def test_letters_of_other_scripts_stay() -> None:
    assert normalise({"given_name": "Мария"}).given_name == "мария"
    assert normalise({"given_name": "山田"}).given_name == "山田"


def test_a_phone_is_completed_by_its_region() -> None:
    assert normalise({"phone": "030 901820"}, region="DE").phone == "+4930901820"


def test_month_first_reads_american_dates() -> None:
    assert normalise({"birth_date": "03/04/1990"}, day_first=False).birth_date == "1990-03-04"


def test_what_was_sent_is_kept_and_never_prints() -> None:
    record = make_record("r1", "crm", {"given_name": "Ann", "city": None})
    assert record.raw == {"given_name": "Ann"}
    assert "ann" not in repr(record).lower()
    assert repr(record.person) == str(record.person) == f"{record.person}" == "<Person sealed>"


def test_a_household_is_who_shares_address_and_family_name() -> None:
    home = {"family_name": "Smith", "street": "1 Main St", "city": "York"}
    ann, bob = (household_of(normalise({"given_name": name, **home})) for name in ("Ann", "Bob"))
    assert ann is not None
    assert ann == bob
    assert household_of(normalise(home | {"family_name": "Jones"})) != ann
    assert household_of(normalise({"family_name": "Smith"})) is None
