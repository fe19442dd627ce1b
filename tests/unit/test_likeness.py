"""Who is linked by a match unasked, and about whom people are asked, by the shipped model and rules."""

import pytest

from services.identity.graph.facts import Evidence
from services.identity.graph.rules import DEFAULT_RULES
from services.identity.matching.model import default
from services.identity.matching.record import normalise
from services.identity.records.likeness import Comparer, Kept

COMPARER = Comparer(default(), DEFAULT_RULES.matching.review_weight)
COMMON = {"given_name": "Anna", "family_name": "Smith", "birth_date": "1990-03-01"}
RARE = {"given_name": "Wilhelmine", "family_name": "Oppenheimer", "birth_date": "1961-04-17"}
HOME = {"street": "12 Long Lane", "postcode": "40001", "city": "Springfield"}
MAIL, OTHER_MAIL = {"email": "anna@one.example"}, {"email": "mallory@another.example"}


def band(one: dict[str, str], other: dict[str, str]) -> str | None:
    kept = [Kept(bytes([n]), bytes([n]), "web", normalise(raw), Evidence(1, b"1")) for n, raw in enumerate((one, other))]
    found = COMPARER.compare(*kept)
    return found and DEFAULT_RULES.matching.band(found.weight, found.witnessed_weight)


@pytest.mark.parametrize("person", [COMMON, RARE])
def test_a_name_and_a_birth_date_are_asked_about_however_rare(person: dict[str, str]) -> None:
    assert band(person, person) == "review"
    assert band(person | HOME | MAIL, person | OTHER_MAIL) == "review"


@pytest.mark.parametrize("person", [COMMON, RARE])
def test_with_a_home_they_are_one(person: dict[str, str]) -> None:
    assert band(person | HOME, person | HOME) == "link"
    assert band(RARE | HOME, RARE | HOME | {"given_name": "Wilhelmina", "family_name": "Openheimer"}) == "link"


@pytest.mark.parametrize(("one", "other"), [("Lena", "Lina"), ("Hannah", "Anna"), ("Marie", "Maria")])
@pytest.mark.parametrize("person", [COMMON, RARE])
@pytest.mark.parametrize("mails", [({}, {}), ({"email": "tw1@home.example"}, {"email": "tw2@home.example"})])
def test_twins_are_never_linked_unasked(person: dict[str, str], one: str, other: str, mails: tuple[dict[str, str], ...]) -> None:
    first, second = (person | HOME | mail for mail in mails)
    assert band(first | {"given_name": one}, second | {"given_name": other}) != "link"
