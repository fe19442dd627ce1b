"""How people write persons, positions, values and instants on the command line."""

from datetime import UTC, datetime

import pytest

from services.cli.instants import format_instant, parse_instant
from services.cli.notation import (
    LogPosition,
    NamedCustomer,
    NamedIdentifier,
    Pair,
    keep_digits,
    parse_identifier,
    parse_pair,
    parse_person,
    parse_position,
)

NOW = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-03T10:02:11Z", datetime(2026, 3, 3, 10, 2, 11, tzinfo=UTC)),
        ("2026-03-03T10:02:11.000052+01:00", datetime(2026, 3, 3, 9, 2, 11, 52, tzinfo=UTC)),
        ("2026-03-03 10:02", datetime(2026, 3, 3, 10, 2, tzinfo=UTC)),
        ("2026-03-03", datetime(2026, 3, 3, tzinfo=UTC)),
        ("-2h", datetime(2026, 3, 3, 8, 0, tzinfo=UTC)),
        ("-1d12h", datetime(2026, 3, 1, 22, 0, tzinfo=UTC)),
        (" -1w ", datetime(2026, 2, 24, 10, 0, tzinfo=UTC)),
        ("-90s", datetime(2026, 3, 3, 9, 58, 30, tzinfo=UTC)),
    ],
)
def test_an_instant_is_iso_8601_or_an_age(text: str, expected: datetime) -> None:
    assert parse_instant(text, NOW) == expected


def test_now_leaves_the_instant_to_the_services_clock() -> None:
    assert parse_instant("now", NOW) is None


@pytest.mark.parametrize("text", ["", "yesterday", "2h", "+2h", "-2", "-h", "-2x", "2026-13-01", "-99999999999w"])
def test_what_is_no_instant_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_instant(text, NOW)


@pytest.mark.parametrize("text", ["2026-03-03T10:02:11Z", "2026-03-03T10:02:11.000052Z"])
def test_a_shown_instant_can_be_given_back(text: str) -> None:
    instant = parse_instant(text, NOW)
    assert instant is not None
    assert format_instant(instant) == text


def test_a_person_is_a_customer_id_or_an_identifier() -> None:
    assert parse_person("01890A5D-AC96-774B-BCCE-B302099A8057") == NamedCustomer("01890a5d-ac96-774b-bcce-b302099a8057")
    assert parse_person("email:ann@example.com") == NamedIdentifier("email", "ann@example.com")


def test_only_the_first_colon_divides_an_identifier() -> None:
    assert parse_identifier("crm.id: a:b ") == NamedIdentifier("crm.id", "a:b")


@pytest.mark.parametrize("text", ["", "ann@example.com", ":u1", "user_id:", "user_id: ", "e mail:x", "x" * 65 + ":1"])
def test_what_names_nobody_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="namespace:value"):
        parse_person(text)


def test_an_identifiers_value_does_not_print() -> None:
    assert "ann" not in repr(parse_identifier("email:ann@example.com"))


def test_a_position_reads_as_it_is_printed() -> None:
    position = parse_position("ingest/0/42")
    assert position == LogPosition("ingest", 0, 42)
    assert str(position) == "ingest/0/42"


@pytest.mark.parametrize("text", ["", "42", "ingest/0", "ingest/a/1", "ingest/0/-1", "ingest/0/1/2", "Ingest/0/1"])
def test_what_is_no_position_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="log/partition/number"):
        parse_position(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("total=12.5", 12.5),
        ("count=3", 3),
        ("vip=true", True),
        ("plan=null", None),
        ("name=Ann", "Ann"),
        ("name=", ""),
        ('zip="1010"', "1010"),
        ("phone=0664123", "0664123"),
        ("formula=a=b", "a=b"),
        ("ratio=NaN", "NaN"),
        ("huge=1e999", "1e999"),
        ("order=12345678901234567890", "12345678901234567890"),
        ('address={"city":"Wien","geo":[48.2,16.4]}', {"city": "Wien", "geo": [48.2, 16.4]}),
    ],
)
def test_a_value_is_json_where_it_is_json_else_text(text: str, expected: object) -> None:
    name = text.partition("=")[0]
    assert parse_pair(text) == Pair(name, expected)


@pytest.mark.parametrize("text", ["total", "=12", " =1"])
def test_a_value_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name=value"):
        parse_pair(text)


def test_numbers_that_a_double_cannot_hold_keep_their_digits() -> None:
    order = {"id": 2**53 + 1, "items": [{"sku": -(2**60)}], "total": 2**53, "paid": True}
    assert keep_digits(order) == {
        "id": "9007199254740993",
        "items": [{"sku": "-1152921504606846976"}],
        "total": 2**53,
        "paid": True,
    }
