"""What each form reads, and what it doesn't."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from services.ingest.domain import coercions
from services.ingest.domain.codes import countries, folded
from services.ingest.domain.coercions import FAILED
from services.ingest.domain.standardise import Standardiser
from shared.errors import InvalidInput
from shared.identifiers import normalise

COUNTRY, CURRENCY = coercions.country(("en", "de")), coercions.currency(("en", "de"))
DATE, INSTANT = coercions.calendar_date(["%d.%m.%Y"]), coercions.instant(["%d.%m.%Y %H:%M"])


@pytest.mark.parametrize(
    ("coerce", "value", "expected"),
    [
        (COUNTRY, "Germany", "DE"),
        (COUNTRY, "deutschland", "DE"),
        (COUNTRY, "gbr", "GB"),
        (COUNTRY, "276", "DE"),
        (COUNTRY, "UK", "GB"),
        (COUNTRY, "uk", "GB"),
        (COUNTRY, "united-states", "US"),
        (COUNTRY, "EU", FAILED),
        (COUNTRY, "Narnia", FAILED),
        (COUNTRY, 49, FAILED),
        (CURRENCY, "euro", "EUR"),
        (CURRENCY, "€", "EUR"),
        (CURRENCY, "£", "GBP"),
        (CURRENCY, "A$", "AUD"),
        (CURRENCY, "$", FAILED),
        (CURRENCY, "¥", FAILED),
        (CURRENCY, "chf", "CHF"),
        (CURRENCY, "doubloon", FAILED),
        (DATE, "2026-03-03", "2026-03-03"),
        (DATE, "3.3.2026", "2026-03-03"),
        (DATE, "2026-03-03T23:00:00-05:00", "2026-03-03"),
        (DATE, "2026-02-30", FAILED),
        (DATE, 20260303, FAILED),
        (INSTANT, "2026-03-03T10:02:11+02:00", "2026-03-03T08:02:11Z"),
        (INSTANT, "3.3.2026 10:02", "2026-03-03T10:02:00Z"),
        (INSTANT, 1_772_532_131, "2026-03-03T10:02:11Z"),
        (INSTANT, 1_772_532_131_500, "2026-03-03T10:02:11.500000Z"),
        (INSTANT, float("inf"), FAILED),
        (INSTANT, 1e300, FAILED),
        (coercions.number, "1,234.50", 1234.5),
        (coercions.number, "12.0", 12),
        (coercions.number, "1,2", FAILED),
        (coercions.number, True, FAILED),
        (coercions.number, "", FAILED),
        (coercions.number, "9" * 60, FAILED),
        (coercions.integer, "12", 12),
        (coercions.integer, 12.5, FAILED),
        (coercions.boolean, "Yes", True),
        (coercions.boolean, 0, False),
        (coercions.boolean, "maybe", FAILED),
        (coercions.email, " Ann@Example.COM ", "ann@example.com"),
        (coercions.email, "ann@", FAILED),
        (coercions.email, "test@test.com", FAILED),
        (coercions.phone("DE"), "030 901820", "+4930901820"),
        (coercions.phone(""), "030 901820", FAILED),
        (coercions.phone(""), "+49 30 901820", "+4930901820"),
        (coercions.phone("DE"), "12", FAILED),
        (coercions.phone("DE"), 30901820, "+4930901820"),
        (coercions.phone("DE"), True, FAILED),
        (coercions.phone(""), "+447700900123", "+447700900123"),
        (INSTANT, 10**400, FAILED),
        (coercions.number, 10**400, FAILED),
        (coercions.text, 10**4000, FAILED),
        (coercions.lower, 10**4000, FAILED),
        (coercions.phone("DE"), 10**4000, FAILED),
        (coercions.text, "  Zu\u0308rich ", "Zürich"),
        (coercions.text, 12, "12"),
        (coercions.text, ["x"], FAILED),
        (coercions.lower, "GOLD ", "gold"),
    ],
)
def test_a_value_gets_its_form_or_fails(coerce: Any, value: Any, expected: Any) -> None:
    found = coerce(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("form", ["%Y-%m-%d %Y", "%H", "%d.%m", "%Y-%m-%d \0", "%"])
def test_a_format_that_strptime_refuses_is_none(form: str) -> None:
    assert not coercions.is_format(form)


@pytest.mark.parametrize("read", [coercions.text, coercions.lower, folded, partial(normalise, "user_id")])
def test_marks_piled_on_a_letter_are_not_normalised(read: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take seconds, by the square of their number."""
    piled = "\u0301\u0316" * 8_000

    def refuse(form: str, given: str) -> str:
        raise AssertionError

    with monkeypatch.context() as patched, contextlib.suppress(InvalidInput):
        patched.setattr("unicodedata.normalize", refuse)
        assert read(piled) in (FAILED, piled)


def test_a_long_text_with_accents_is_normalised() -> None:
    assert coercions.text("e\u0301" * 5_000) == "é" * 5_000


def test_a_comma_is_a_decimal_sign_where_the_plan_says_so() -> None:
    assert coercions.number("1.234,5", decimal=",") == 1234.5


def test_every_country_of_iso_3166_is_known_and_nothing_else_but_kosovo() -> None:
    codes = set(countries(("en",)).values())
    assert (len(codes), "XK" in codes) == (250, True)


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"Sector": "c", "Industry": "b", "industry": "a"}, "a"),
        ({"Sector": "c", "Industry": "b"}, "b"),
        ({"Sector": "c", "industry": None}, "c"),
        ({"Sector": None}, None),
    ],
)
def test_of_several_fields_that_mean_the_same_one_wins(given: dict[str, Any], chosen: Any) -> None:
    standard = Standardiser({"industry": ["Industry", "Sector"]}, {}, loose=False).standardise(given)
    assert standard.fields == {"industry": chosen}


def test_names_that_differ_in_case_and_spaces_are_one_name_when_loose() -> None:
    fields = {"business-TYPE": "x", "Other": 1}
    for loose, expected in ((True, {"industry": "x", "Other": 1}), (False, fields)):
        assert Standardiser({"industry": ["Business type"]}, {}, loose=loose).standardise(fields).fields == expected
