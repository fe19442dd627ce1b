"""What forbids that two are one person, whatever speaks for it. Pure."""

from typing import Literal

from rapidfuzz.distance import JaroWinkler, Levenshtein

from services.identity.matching.record import Person

NAMES_DISAGREE_BELOW = 0.7  # Jaro-Winkler; Bob and Robert are at .75, a slip of the finger far above
SWAPPED_FROM = 0.88  # Jaro-Winkler
DATES_DISAGREE_ABOVE = 2  # digits: more is no slip of the finger

Veto = Literal["NAME_AND_BIRTH_DISAGREE", "NAME_AND_INITIAL_DISAGREE", "INITIAL_AND_BIRTH_DISAGREE"]


def veto(one: Person, other: Person) -> Veto | None:
    """Slips of the finger don't forbid: they weigh. Nor does a contradiction where an authority's number is the same.

    Two contradictions do, of what a person has alone: siblings differ in name and birth date, twins in name and middle initial,
    father and son of one name in birth date and middle initial. No weight tells them from one person: it counts a household once
    for each field that its members share.
    """
    if one.national_id and one.national_id == other.national_id:
        return None
    names, dates = _names_disagree(one, other), _dates_disagree(one, other)
    if names and dates:
        return "NAME_AND_BIRTH_DISAGREE"
    if (names or dates) and _initials_disagree(one, other):
        return "NAME_AND_INITIAL_DISAGREE" if names else "INITIAL_AND_BIRTH_DISAGREE"
    return None


def _names_disagree(one: Person, other: Person) -> bool:
    """Swapped names agree, with slips too, and so do initials."""
    if not one.given_name or not other.given_name:
        return False
    swapped = (one.given_name, other.family_name), (other.given_name, one.family_name)
    if any(family is not None and JaroWinkler.similarity(given, family) >= SWAPPED_FROM for given, family in swapped):
        return False
    if 1 in (len(one.given_name), len(other.given_name)) and one.given_name[0] == other.given_name[0]:
        return False
    return JaroWinkler.similarity(one.given_name, other.given_name) < NAMES_DISAGREE_BELOW


def _initials_disagree(one: Person, other: Person) -> bool:
    """Of the middle name; who goes by it has it as the given name somewhere."""
    if not one.middle_initial or not other.middle_initial or one.middle_initial == other.middle_initial:
        return False
    given = [(person.given_name or " ")[0] for person in (one, other)]
    return one.middle_initial != given[1] and other.middle_initial != given[0]


def _dates_disagree(one: Person, other: Person) -> bool:
    if not one.birth_date or not other.birth_date:
        return False
    return Levenshtein.distance(one.birth_date, other.birth_date) > DATES_DISAGREE_ABOVE
