"""Records as they come: few names, families at one address, one mailbox for all, typing errors, gaps, placeholders."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from services.identity.matching.model import FORMAT, Model, load
from services.identity.matching.record import Person, Record, make_record
from services.identity.matching.values import NORMAL_FORM

GIVEN = ["Anna", "Ana", "anna ", "Bob", "Robert", "Jörg", "Jorg", "null", None]
FAMILY = ["Smith", "Smyth", "O'Neill", "ONeill", None]
BIRTHS = ["1980-02-03", "1980-03-02", "1981-02-03", "19800203", "1900-01-01", "2011-11-11", None]
STREETS = ["1 Main Street", "Main St 1", "5 Elm Rd", None]
EMAILS = ["family@x.example", "Anna@x.example", "bob@x.example", "test@test.com", None]
PHONES = ["+49 30 901820", "+4930901820", "000000", None]
NATIONAL_IDS = ["123-45-6789", "987-65-4320", "000000000", None, None]


def level(condition: str, m: float, u: float, **more: Any) -> dict[str, Any]:
    return {"sql_condition": condition, "m_probability": m, "u_probability": u, **more}


def comparison(column: str, *levels: tuple[str, float, float], term: bool = False) -> dict[str, Any]:
    equal = level(f'"{column}_l" = "{column}_r"', *levels[0][1:])
    if term:
        equal |= {"tf_adjustment_column": column, "tf_adjustment_weight": 1.0}
    null = {"sql_condition": f'"{column}_l" IS NULL OR "{column}_r" IS NULL', "is_null_level": True}
    return {"output_column_name": column, "comparison_levels": [null, equal, *(level(*found) for found in levels[1:])]}


def fuzzy(column: str) -> str:
    return f'jaro_winkler_similarity("{column}_l", "{column}_r") >= 0.88'


SETTINGS = {
    "probability_two_random_records_match": 0.001,
    "comparisons": [
        comparison("given_name", ("", 0.8, 0.02), (fuzzy("given_name"), 0.1, 0.02), ("ELSE", 0.1, 0.96), term=True),
        comparison("family_name", ("", 0.8, 0.02), (fuzzy("family_name"), 0.15, 0.02), ("ELSE", 0.05, 0.96)),
        comparison(
            "birth_date",
            ("", 0.85, 0.001),
            ('levenshtein("birth_date_l", "birth_date_r") <= 1', 0.1, 0.009),
            ("ELSE", 0.05, 0.99),
        ),
        comparison("street", ("", 0.7, 0.01), ("ELSE", 0.3, 0.99)),
        comparison("email", ("", 0.6, 0.001), ("ELSE", 0.4, 0.999)),
        comparison("phone", ("", 0.6, 0.001), ("ELSE", 0.4, 0.999)),
        comparison("national_id", ("", 0.95, 0.0001), ("ELSE", 0.05, 0.9999)),
    ],
}


def make_model(settings: dict[str, Any] = SETTINGS, **changes: Any) -> Model:
    content = {
        "format": FORMAT,
        "normal_form": NORMAL_FORM,
        "trained_on": "nothing: made up for tests",
        "link_weight": 4.0,
        "review_weight": 0.0,
        "splink": settings,
        "family": {},
        "term_frequencies": {"given_name": {"values": {"anna": 0.2, "bob": 0.1}, "unseen": 0.01}},
    }
    return load(msgspec.json.encode(content | changes))


FAMILIES: dict[str, Any] = {
    "share": 0.002,
    "shared": {"family_name": 0.9, "street": 0.9, "email": 0.3, "phone": 0.5},
    "twins": 0.02,
    "absent": 0.1,
}
MODEL = make_model(family=FAMILIES)

raw_persons = st.fixed_dictionaries(
    {
        "given_name": st.sampled_from(GIVEN),
        "family_name": st.sampled_from(FAMILY),
        "birth_date": st.sampled_from(BIRTHS),
        "street": st.sampled_from(STREETS),
        "postcode": st.sampled_from(["10115", "10 115", "99999", None]),
        "city": st.sampled_from(["Berlin", "berlin", "unknown", None]),
        "email": st.sampled_from(EMAILS),
        "phone": st.sampled_from(PHONES),
        "national_id": st.sampled_from(NATIONAL_IDS),
    }
)
persons = raw_persons.map(lambda raw: make_record("", "", raw).person)
sources = st.sampled_from(["shop", "crm", "call centre"])


@st.composite
def records(draw: st.DrawFn, most: int = 14) -> list[Record]:
    drawn = draw(st.lists(st.tuples(sources, persons), max_size=most))
    return [Record(f"r{number:02}", source, person) for number, (source, person) in enumerate(drawn)]


def person(**fields: str) -> Person:
    return Person(**fields)
