"""Laws of the weight: it is the sum of its parts, nobody's order matters, and what isn't known says nothing."""

import math

import msgspec
import pytest
from hypothesis import given

from services.identity.matching.conditions import ModelInvalid
from services.identity.matching.record import Person
from services.identity.matching.score import Scorer
from tests.properties.messy_records import SETTINGS, level, make_model, person, persons

MODEL = make_model()
SCORER = Scorer(MODEL)


@given(persons, persons)
def test_the_parts_add_up_to_the_weight(one: Person, other: Person) -> None:
    explained = SCORER.explain(one, other)
    assert explained.weight == pytest.approx(SCORER.weigh(one, other), abs=1e-12)
    total = explained.prior_weight + sum(part.weight + part.term_weight for part in explained.parts)
    assert total == pytest.approx(explained.weight, abs=1e-12)


@given(persons, persons)
def test_it_makes_no_difference_who_is_first(one: Person, other: Person) -> None:
    assert SCORER.weigh(one, other) == SCORER.weigh(other, one)


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


def test_a_model_of_another_normal_form_is_refused() -> None:
    with pytest.raises(ModelInvalid, match="normal form"):
        make_model(normal_form=0)


def test_another_text_is_another_version() -> None:
    assert make_model(trained_on="something else").version != MODEL.version
    assert msgspec.json.encode(SETTINGS) == msgspec.json.encode(MODEL.settings)
