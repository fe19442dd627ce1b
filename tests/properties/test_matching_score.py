"""Laws of the weight: it is the sum of its parts, nobody's order matters, and what isn't known says nothing."""

import math

import msgspec
import pytest
from hypothesis import given

from services.identity.matching.conditions import ModelInvalid
from services.identity.matching.family import NEARLY_THE_SAME
from services.identity.matching.model import probability_of
from services.identity.matching.record import Person
from services.identity.matching.score import FAMILY as FAMILY_PART
from services.identity.matching.score import FAMILY_LEVEL, Scorer, level_of
from tests.properties.messy_records import FAMILIES, SETTINGS, comparison, level, make_model, person, persons

MODEL = make_model()
SCORER = Scorer(MODEL)
OF_FAMILIES = Scorer(make_model(family=FAMILIES))
scorers = pytest.mark.parametrize("scorer", [SCORER, OF_FAMILIES], ids=["strangers", "families"])


@scorers
@given(one=persons, other=persons)
def test_the_parts_add_up_to_the_weight(scorer: Scorer, one: Person, other: Person) -> None:
    explained = scorer.explain(one, other)
    assert explained.weight == pytest.approx(scorer.weigh(one, other), abs=1e-12)
    total = explained.prior_weight + sum(part.weight + part.term_weight for part in explained.parts)
    assert total == pytest.approx(explained.weight, abs=1e-12)


@scorers
@given(one=persons, other=persons)
def test_it_makes_no_difference_who_is_first(scorer: Scorer, one: Person, other: Person) -> None:
    assert scorer.weigh(one, other) == scorer.weigh(other, one)


@given(persons, persons)
def test_without_families_it_is_fellegi_and_sunters_weight(one: Person, other: Person) -> None:
    levels = [(level_of(comparison, one, other), comparison.name) for comparison in MODEL.comparisons]
    known = sum(math.log2(found.m / found.u) for found, _ in levels if found.m and found.u)
    terms = sum(found.term.weigh(one.given_name, other.given_name) for found, _ in levels if found.term)
    assert SCORER.weigh(one, other) == pytest.approx(MODEL.prior_weight + known + terms, abs=1e-12)
    assert SCORER.explain(one, other).parts[-1] == (FAMILY_PART, FAMILY_LEVEL, 0.0, 0.0, None, None)


@given(persons, persons)
def test_that_families_look_so_too_never_speaks_for_one_person(one: Person, other: Person) -> None:
    assert OF_FAMILIES.weigh(one, other) <= SCORER.weigh(one, other)


@given(persons, persons)
def test_the_weight_is_what_bayes_says_of_three_kinds_of_pairs(one: Person, other: Person) -> None:
    """In probabilities, as they are written down, where the scorer adds up bits."""
    person, strangers, family = probability_of(MODEL.prior_weight), 1.0, FAMILIES["share"]
    person, twins = person / (1 - person), FAMILIES["twins"]
    others = 1 - twins
    for said in SCORER.explain(one, other).parts[:-1]:
        if said.m is None or said.u is None:
            continue
        shared, agree = FAMILIES["shared"].get(said.comparison, 0.0), said.m * 2**said.term_weight
        person, strangers, others = person * agree, strangers * said.u, others * (shared * agree + (1 - shared) * said.u)
        twins *= agree if said.comparison == "birth_date" else shared * agree + (1 - shared) * said.u
        if said.comparison == "given_name" and said.weight >= NEARLY_THE_SAME:
            twins = 0.0
    assert 2 ** OF_FAMILIES.weigh(one, other) == pytest.approx(person / (strangers + family * (others + twins)), rel=1e-9)


@given(persons, persons)
def test_who_could_be_nobody_else_is_rather_one_and_never_more_than_if_there_were_no_families(one: Person, other: Person) -> None:
    weight, unrivalled = OF_FAMILIES.weigh_twice(one, other)
    assert weight == OF_FAMILIES.weigh(one, other) <= unrivalled <= SCORER.weigh(one, other)
    never_absent, always_absent = (Scorer(make_model(family=FAMILIES | {"absent": share})) for share in (0.0, 1.0))
    assert never_absent.weigh_twice(one, other) == (weight, SCORER.weigh(one, other))
    assert always_absent.weigh_twice(one, other) == (weight, weight)


@given(persons)
def test_somebody_of_whom_nothing_is_known_weighs_the_prior(one: Person) -> None:
    assert SCORER.weigh(one, Person()) == MODEL.prior_weight


def test_each_part_is_log2_of_m_over_u() -> None:
    explained = SCORER.explain(person(birth_date="1980-02-03"), person(birth_date="1980-02-04"))
    assert {part.comparison: part.weight for part in explained.parts if part.weight} == {"birth_date": math.log2(0.1 / 0.009)}


def test_a_rare_name_says_more_than_a_common_one_by_the_more_frequent_of_the_two() -> None:
    def term(name: str) -> float:
        return SCORER.explain(person(given_name=name), person(given_name=name)).parts[0].term_weight

    assert term("anna") == pytest.approx(math.log2(0.02 / 0.2))
    assert term("ottokar") == pytest.approx(math.log2(0.02 / 0.01))


@pytest.mark.parametrize(
    "condition", ["1 = 1", '"shoe_size_l" = "shoe_size_r"', 'NOT "city_l" = "city_r"', "", '("city_l" = "city_r"', "abs(1) < 2"]
)
def test_a_condition_that_is_not_understood_is_refused_and_not_guessed(condition: str) -> None:
    with pytest.raises(ModelInvalid):
        make_model({**SETTINGS, "comparisons": [{"output_column_name": "c", "comparison_levels": [level(condition, 0.5, 0.1)]}]})


def test_a_level_that_was_not_trained_is_refused() -> None:
    untrained = {"sql_condition": "ELSE", "m_probability": 0.5}
    with pytest.raises(ModelInvalid, match="not trained"):
        make_model({**SETTINGS, "comparisons": [{"output_column_name": "c", "comparison_levels": [untrained]}]})


def test_a_family_that_shares_what_is_not_compared_is_refused() -> None:
    with pytest.raises(ModelInvalid, match="shoe size"):
        make_model(family={"share": 0.1, "shared": {"shoe size": 0.5}})


def test_a_model_of_another_normal_form_is_refused() -> None:
    with pytest.raises(ModelInvalid, match="normal form"):
        make_model(normal_form=0)


def test_another_text_is_another_version() -> None:
    assert make_model(trained_on="something else").version != MODEL.version
    assert msgspec.json.encode(SETTINGS) == msgspec.json.encode(MODEL.settings)


def test_weights_that_no_float_can_be_the_odds_of_are_refused() -> None:
    """Such a model would end whoever counts with it."""
    endless = [comparison("national_id", ("", 0.95, 1e-160), ("ELSE", 0.05, 0.9999))]
    with pytest.raises(ModelInvalid, match="bits"):
        make_model(SETTINGS | {"comparisons": endless})
