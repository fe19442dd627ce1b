"""Predictions of lifetime value against the papers' figures, an independent formula, and simulated customers."""

import json
import math
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.computed.lifetime_value import (
    TAKEN,
    LifetimeModel,
    Purchases,
    expected_purchases,
    expected_value,
    probability_alive,
)
from services.profile.domain.computed.steady import expected_events

# Of 2,357 customers of CDNOW, in weeks and dollars; the papers and notes that decision 45 names.
CDNOW = LifetimeModel(r=0.243, alpha=4.414, a=0.793, b=2.426, p=6.25, q=3.74, gamma=15.44)
shapes = st.floats(0.05, 5)
models = st.builds(
    LifetimeModel, r=shapes, alpha=st.floats(0.5, 300), a=shapes, b=shapes, p=shapes, q=st.floats(1.1, 9), gamma=st.floats(1, 99)
)
bought = st.builds(
    lambda repeats, age, part: Purchases(repeats, age * part if repeats else 0.0, age, 20.0),
    st.integers(0, 60),
    st.floats(0, 2_000),
    st.floats(0, 1),
)


def test_the_papers_example_comes_out() -> None:
    """Two repeat purchases, the last in week 30.43 of 38.86: 1.226 more are expected in the 39 weeks that follow."""
    assert expected_purchases(CDNOW, Purchases(2, 30.43, 38.86, 0.0), 39) == pytest.approx(1.226, abs=0.0005)


def test_spending_is_between_ones_own_mean_and_everybodys() -> None:
    everybody = CDNOW.p * CDNOW.gamma / (CDNOW.q - 1)
    assert expected_value(CDNOW, Purchases(0, 0.0, 10.0, 0.0)) == pytest.approx(everybody)
    few, many = (expected_value(CDNOW, Purchases(x, 5.0, 10.0, 100.0)) for x in (1, 50))
    assert everybody < few < many < 100.0


@given(models, bought, st.floats(1, 1_095))
def test_predictions_are_those_of_the_papers_own_formula(model: LifetimeModel, known: Purchases, horizon: float) -> None:
    special = pytest.importorskip("scipy.special", reason="scipy is missing: pip install 'customer360[lifetime]'")
    x, total = known.repeats, model.alpha + known.age_days
    if abs(model.a - 1) < 0.01 or abs(model.a + model.b + x - 1) < 0.01:
        return  # where the formula divides nothing by nothing, it has no digits left
    series = special.hyp2f1(model.r + x, model.b + x, model.a + model.b + x - 1, horizon / (total + horizon))
    expected = (model.a + model.b + x - 1) / (model.a - 1) * (1 - (total / (total + horizon)) ** (model.r + x) * series)
    if x:
        expected /= 1 + model.a / (model.b + x - 1) * (total / (model.alpha + known.recency_days)) ** (model.r + x)
    assert expected_purchases(model, known, horizon) == pytest.approx(expected, rel=1e-6, abs=1e-9)


wide = st.floats(math.log(1e-2), math.log(1e3)).map(math.exp)


@given(wide, wide, wide, wide)
def test_where_the_papers_formula_has_no_digits_the_answer_is_still_its(shape: float, ahead: float, a: float, b: float) -> None:
    """The integral that the formula solves, over the chance to leave, by SciPy; split where the weight is."""
    integrate, special = (
        pytest.importorskip(f"scipy.{name}", reason="scipy is missing: pip install 'customer360[lifetime]'")
        for name in ("integrate", "special")
    )

    def at(logit: float) -> float:
        chance = special.expit(logit)
        weight = math.exp(a * special.log_expit(logit) + b * special.log_expit(-logit) - special.betaln(a, b))
        return weight * -math.expm1(-shape * math.log1p(chance * ahead)) / chance if chance else weight * shape * ahead

    middle, width = math.log(a / b), math.sqrt(1 / a + 1 / b)
    places = [middle - 40 / a - 12 * width, *(middle + width * k for k in (-6, -2, 0, 2, 6)), middle + 40 / b + 12 * width]
    expected = sum(integrate.quad(at, *piece, limit=400, epsabs=0)[0] for piece in pairwise(places))
    assert expected_events(shape, ahead, a, b) == pytest.approx(expected, rel=1e-6)


def test_years_of_daily_purchases_and_then_silence_leave_nobody_to_come_back() -> None:
    """As a coffee subscription ends: the odds are beyond what a float holds."""
    for repeats, silence in ((949, 2_050), (364, 2_302)):
        gone = Purchases(repeats, float(repeats), float(repeats + silence), 9.5)
        assert probability_alive(CDNOW, gone) < 1e-300
        assert expected_purchases(CDNOW, gone, 365) < 1e-300
    regular = Purchases(949, 949.0, 950.0, 9.5)
    assert expected_purchases(CDNOW, regular, 365) == pytest.approx(365, rel=0.2)


@given(models, bought, st.floats(0, 400))
def test_the_longer_the_silence_the_less_is_expected(model: LifetimeModel, known: Purchases, longer: float) -> None:
    later = Purchases(known.repeats, known.recency_days, known.age_days + longer, known.mean_value)
    assert 0 <= probability_alive(model, later) <= probability_alive(model, known) <= 1
    assert 0 <= expected_purchases(model, known, 90) <= expected_purchases(model, known, 365) * (1 + 1e-9)


def simulated(model: LifetimeModel, customers: int, days: float, seed: int) -> list[list[tuple[float, float]]]:
    """Of each customer (day, amount), the first on day 0."""
    chance = random.Random(seed)
    found = []
    for _ in range(customers):
        rate, leaves = chance.gammavariate(model.r, 1 / model.alpha), chance.betavariate(model.a, model.b)
        scale = chance.gammavariate(model.q, 1 / model.gamma)
        purchases, day = [(0.0, chance.gammavariate(model.p, 1 / scale))], 0.0
        while (day := day + chance.expovariate(rate)) < days:
            purchases.append((day, chance.gammavariate(model.p, 1 / scale)))
            if chance.random() < leaves:
                break
        found.append(purchases)
    return found


def test_what_was_simulated_is_found_again() -> None:
    pytest.importorskip("scipy", reason="scipy is missing: pip install 'customer360[lifetime]'")
    from services.profile.lifetime.fit import fit
    from services.profile.lifetime.reading import Table

    model = LifetimeModel(r=1.0, alpha=20.0, a=0.8, b=2.5, p=6.0, q=4.0, gamma=15.0)
    table = Table([], [], [], [])
    for purchases in simulated(model, 4_000, 300.0, seed=5):
        again = purchases[1:]
        table.repeats.append(len(again))
        table.recency_days.append(purchases[-1][0])
        table.age_days.append(300.0)
        table.mean_value.append(sum(value for _, value in again) / len(again) if again else 0.0)
    found = fit(table).model
    for name in ("r", "alpha", "a", "b"):
        assert math.log(getattr(found, name) / getattr(model, name)) == pytest.approx(0, abs=0.3), name
    known = Purchases(3, 120.0, 150.0, 30.0)
    assert expected_purchases(found, known, 365) == pytest.approx(expected_purchases(model, known, 365), rel=0.1)
    assert expected_value(found, known) == pytest.approx(expected_value(model, known), rel=0.05)


def test_a_model_is_found_of_customers_who_all_leave_alike() -> None:
    """Their chance to leave has no spread, so of a and b only the quotient counts; the model says what they do all the same."""
    pytest.importorskip("scipy", reason="scipy is missing: pip install 'customer360[lifetime]'")
    from services.profile.lifetime.fit import fit
    from services.profile.lifetime.reading import Table

    alike = LifetimeModel(r=0.8, alpha=20.0, a=15_000.0, b=85_000.0, p=6.0, q=4.0, gamma=15.0)
    table = Table([], [], [], [])
    for purchases in simulated(alike, 500, 360.0, seed=3):
        again = purchases[1:]
        table.repeats.append(len(again))
        table.recency_days.append(purchases[-1][0])
        table.age_days.append(360.0)
        table.mean_value.append(sum(value for _, value in again) / len(again) if again else 0.0)
    found = fit(table).model
    assert not found.objection
    known = Purchases(3, 120.0, 150.0, 30.0)
    assert expected_purchases(found, known, 365) == pytest.approx(expected_purchases(alike, known, 365), rel=0.2)


def test_a_fit_that_finds_no_end_names_the_parameters_and_what_to_do() -> None:
    pytest.importorskip("scipy", reason="scipy is missing: pip install 'customer360[lifetime]'")
    from services.profile.lifetime.fit import NotFitted, _best

    with pytest.raises(NotFitted, match=r"a and b run away: .*: export a longer time, of more customers$"):
        _best(lambda logarithms: -1e6 * float(logarithms.sum()), ("a", "b"))


def test_a_model_whose_parameters_can_be_none_is_refused_by_name() -> None:
    assert not CDNOW.objection
    for name, (least, most) in TAKEN.items():
        for value in (0.0, -1.0, least / 2, most * 2, math.inf, math.nan):
            refused = msgspec.structs.replace(CDNOW, **{name: value}).objection
            assert refused.startswith(f"{name} has to be between "), refused
    assert msgspec.structs.replace(CDNOW, q=1.0).objection.startswith("q has to be above 1")


def write_export(path: Path, customers: list[list[tuple[float, float]]]) -> None:
    start = datetime(2025, 1, 1, 12, tzinfo=UTC)
    with path.open("w") as file:
        for number, purchases in enumerate(customers):
            for day, amount in purchases:
                row: dict[str, Any] = {
                    "customer_id": f"c{number}",
                    "name": "Order Completed",
                    "properties": {"order": {"total": amount}},
                }
                file.write(json.dumps(row | {"occurred_at": (start + timedelta(days=day)).isoformat()}) + "\n")
        file.write(json.dumps({"customer_id": "c0", "name": "Page", "occurred_at": start.isoformat()}) + "\n")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "services.profile.lifetime", *arguments], capture_output=True, text=True)


def test_a_model_is_fitted_from_an_export_and_goes_into_the_rules(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="scipy is missing: pip install 'customer360[lifetime]'")
    from services.profile.domain.rules_document import read

    export, out = tmp_path / "shop.jsonl", tmp_path / "model.json"
    write_export(export, simulated(LifetimeModel(r=1.0, alpha=20.0, a=0.8, b=2.5, p=6.0, q=4.0, gamma=15.0), 400, 300.0, seed=7))
    done = run(str(export), "--event", "Order Completed", "--value", "order.total", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "model of 400 customers" in done.stdout
    assert "purchase days expected" in done.stdout
    trait = {"of": "true", "aggregate": "lifetime_value", "value": "1.0", "horizon": "365d", "model": json.loads(out.read_text())}
    assert read(json.dumps({"computed": {"clv": trait}})).computed["clv"].model is not None


def test_too_little_to_learn_from_is_said(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="scipy is missing: pip install 'customer360[lifetime]'")
    export = tmp_path / "shop.jsonl"
    write_export(export, [[(0.0, 5.0), (3.0, 7.0)]])
    few = run(str(export), "--event", "Order Completed", "--value", "order.total", "--out", str(tmp_path / "model.json"))
    assert few.returncode == 1
    assert "1 customers bought on a second day; it takes 30 at least" in few.stderr
    none = run(str(export), "--event", "Bought", "--value", "order.total", "--out", str(tmp_path / "model.json"))
    assert "none of the files has an event Bought with a number in properties.order.total" in none.stderr


def test_what_is_wrong_with_a_fit_is_told_with_its_reason(tmp_path: Path) -> None:
    unreadable, few = tmp_path / "events.json", tmp_path / "few.jsonl"
    unreadable.write_text("not json")
    few.write_text("")
    for path, out in ((unreadable, tmp_path / "model.json"), (few, tmp_path / "model.json")):
        command = (
            sys.executable,
            "-m",
            "services.profile.lifetime",
            str(path),
            "--event",
            "Order",
            "--value",
            "total",
            "--out",
            str(out),
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("FILE_UNREADABLE: ")
