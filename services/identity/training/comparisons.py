"""What is compared and in which steps, as settings of Splink."""

from collections.abc import Collection, Sequence
from typing import Any

Level = dict[str, Any]

NAME_STEPS = (0.94, 0.88, 0.75)  # Jaro-Winkler
SWAPPED = (("given_name", "family_name"), ("family_name", "given_name"))
SWAPPED_SIMILAR = 0.88
STREET_SIMILAR = 0.88
CITY_SIMILAR = 0.88
DIGIT_STEPS = (1, 2)  # slips of the finger


def _null(*columns: str) -> Level:
    missing = " AND ".join(f'("{column}_l" IS NULL OR "{column}_r" IS NULL)' for column in columns)
    return {"sql_condition": missing, "label_for_charts": f"{', '.join(columns)} not known", "is_null_level": True}


def _level(condition: str, label: str, term: str | None = None) -> Level:
    level = {"sql_condition": condition, "label_for_charts": label}
    return level | ({"tf_adjustment_column": term, "tf_adjustment_weight": 1.0} if term else {})


def _equal(column: str) -> str:
    return f'"{column}_l" = "{column}_r"'


def _similar(column: str, least: float) -> str:
    return f'jaro_winkler_similarity("{column}_l", "{column}_r") >= {least}'


def _slipped(column: str, most: int) -> str:
    return f'damerau_levenshtein("{column}_l", "{column}_r") <= {most}'


def _slips(column: str, most: int) -> Level:
    return _level(_slipped(column, most), f"{column} with {most} slip{'s' if most > 1 else ''}")


ELSE = _level("ELSE", "different")


def _given_name() -> list[Level]:
    similar = [_level(_similar("given_name", step), f"given_name similar by {step}") for step in NAME_STEPS]
    swapped = _level(" AND ".join(f'"{one}_l" = "{other}_r"' for one, other in SWAPPED), "given_name and family_name swapped")
    nearly = " AND ".join(f'jaro_winkler_similarity("{one}_l", "{other}_r") >= {SWAPPED_SIMILAR}' for one, other in SWAPPED)
    return [
        _null("given_name"),
        _level(_equal("given_name"), "given_name equal", "given_name"),
        similar[0],
        swapped,
        similar[1],
        _level(nearly, f"given_name and family_name swapped, similar by {SWAPPED_SIMILAR}"),
        *similar[2:],
        ELSE,
    ]


def _family_name() -> list[Level]:
    similar = [_level(_similar("family_name", step), f"family_name similar by {step}") for step in NAME_STEPS]
    return [_null("family_name"), _level(_equal("family_name"), "family_name equal", "family_name"), *similar, ELSE]


def _address() -> list[Level]:
    """Every agreement of the street with every agreement of the town."""
    both = f"{_equal('postcode')} AND {_equal('city')}"
    either = f"({_equal('postcode')} OR {_equal('city')})"
    similar = f"{_slipped('postcode', 1)} AND {_similar('city', CITY_SIMILAR)}"
    streets = [(_equal("street"), "street equal"), (_similar("street", STREET_SIMILAR), "street similar")]
    towns = [(both, "postcode and city equal"), (either, "postcode or city equal"), ("", "")]
    places = [
        (f"{street} AND {town}" if town else street, f"{one}, {other}".removesuffix(", "))
        for street, one in streets
        for town, other in towns
    ]
    # A city alone is where everybody lives who is asked.
    places += [(both, "postcode and city equal"), (similar, "postcode and city similar"), (_equal("postcode"), "postcode equal")]
    return [_null("street", "postcode", "city"), *(_level(place, label) for place, label in places), ELSE]


def _digits(column: str) -> list[Level]:
    return [_null(column), _level(_equal(column), f"{column} equal"), *(_slips(column, most) for most in DIGIT_STEPS), ELSE]


LEVELS: dict[str, list[Level]] = {
    "given_name": _given_name(),
    "middle_initial": [_null("middle_initial"), _level(_equal("middle_initial"), "middle_initial equal"), ELSE],
    "birth_date": _digits("birth_date"),
    "family_name": _family_name(),
    "address": _address(),
    "email": [_null("email"), _level(_equal("email"), "email equal"), _level(_similar("email", 0.92), "email similar"), ELSE],
    "phone": [_null("phone"), _level(_equal("phone"), "phone equal"), _slips("phone", 1), ELSE],
    "national_id": _digits("national_id"),
}
ADDRESS = frozenset({"street", "postcode", "city"})

# Pairs on which EM learns how one person's records differ: found by what a person has alone.
EM_BLOCKS: tuple[tuple[str, ...], ...] = (("birth_date",), ("given_name",), ("national_id",))
# Pairs that are one person nearly always, to count how many there are.
SURE: tuple[tuple[str, ...], ...] = (("given_name", "family_name", "birth_date"), ("national_id",))


def comparisons(known: Collection[str]) -> list[dict[str, Any]]:
    """Those of which the data knows something. `known` are columns."""
    names = [name for name in LEVELS if (name in known or (name == "address" and ADDRESS & set(known)))]
    return [{"output_column_name": name, "comparison_levels": [dict(level) for level in LEVELS[name]]} for name in names]


def usable(blocks: tuple[tuple[str, ...], ...], known: Collection[str]) -> list[tuple[str, ...]]:
    return [block for block in blocks if set(block) <= set(known)]


def whole(shares: Sequence[float], least: float) -> list[float]:
    """The shares of a comparison's levels, such that they add up to one and none is less than nearly `least`."""
    raised = [max(share, least) for share in shares]
    total = sum(raised)
    return [share / total for share in raised]
