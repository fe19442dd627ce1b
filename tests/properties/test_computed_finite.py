"""No computed trait is ever NaN or infinite: whatever was bought, whenever, and by whatever model of lifetime value is taken."""

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.computed.aggregates import computed, next_of
from services.profile.domain.computed.definitions import MAX_NUMBER, Definition
from services.profile.domain.computed.lifetime_value import FORMAT, TAKEN
from services.profile.domain.computed.occurrences import Occurrence, add
from shared.ids import derived_id
from shared.instants import DAY
from tests.properties.purchases import START, compiled, every_kind

STREAM = b"s" * 16
MOST_DAYS = 20_000


def logarithmic(least: float, most: float) -> st.SearchStrategy[float]:
    places = st.floats(math.log(least), math.log(most)).map(math.exp).map(lambda value: min(max(value, least), most))
    return places | st.sampled_from([least, most])


def taken_models() -> st.SearchStrategy[dict[str, Any]]:
    """Over all that is taken; by q above 1."""
    parameters = {
        name: logarithmic(max(least, 1.0 + 1e-9) if name == "q" else least, most) for name, (least, most) in TAKEN.items()
    }
    return st.fixed_dictionaries({"format": st.just(FORMAT), **parameters})


@st.composite
def spells(draw: st.DrawFn) -> list[Occurrence]:
    """Runs of purchases, up to more than are kept: some daily, some with decades between them, of amounts up to the largest."""
    found: list[Occurrence] = []
    amounts = st.sampled_from([MAX_NUMBER, -MAX_NUMBER, 5e-324, 0, 0.1, 9.5, -1]) | st.floats(-MAX_NUMBER, MAX_NUMBER)
    at = START
    for _ in range(draw(st.integers(0, 3))):
        at += draw(st.integers(0, MOST_DAYS)) * DAY
        apart, amount = draw(st.sampled_from([1, DAY // 3, DAY, 30 * DAY])), draw(amounts)
        for _ in range(draw(st.sampled_from([1, 2, 5, 365, 950, 1_100]))):
            found.append((at, derived_id(STREAM, str(len(found)).encode()), amount))
            at += apart
    return found


def finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def value_of(definition: Definition, bought: list[Occurrence], silence: int) -> Any:
    kept = definition.nothing_kept()
    for one in bought:
        add(kept, [one], STREAM)
    at = (bought[-1][0] if bought else START) + silence
    next_of(kept, definition, at)
    return computed(kept, definition, at).value


@given(taken_models(), spells(), st.integers(0, MOST_DAYS).map(lambda days: days * DAY), st.integers(1, 1_095))
def test_a_lifetime_value_is_finite_for_everybody_by_every_model(
    model: dict[str, Any], bought: list[Occurrence], silence: int, days: int
) -> None:
    clv = {"of": "true", "aggregate": "lifetime_value", "value": "1.0", "model": model, "horizon": f"{days}d"}
    found = value_of(compiled({"clv": clv}).all["clv"], bought, silence)
    if found is not None:
        assert finite(found), found
        assert 0 <= found["alive"] <= 1
        assert found["purchases"] >= 0
        assert found["value"] >= 0


@given(st.sampled_from(sorted(every_kind())), spells(), st.integers(0, MOST_DAYS).map(lambda days: days * DAY))
def test_a_computed_trait_is_a_number_that_json_has(name: str, bought: list[Occurrence], silence: int) -> None:
    json.dumps(value_of(EVERY_KIND.all[name], bought, silence), allow_nan=False)


EVERY_KIND = compiled(every_kind())
