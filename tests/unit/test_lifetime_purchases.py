"""What is a purchase: a day on which more was bought than given back, and the same to what is learnt and to what is served."""

import json
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.computed.lifetime_value import (
    SILENCE_STEPS,
    LifetimeModel,
    bought,
    expected_purchases,
    expected_value,
    last_bought,
    next_step,
    purchases_of,
)
from services.profile.lifetime.reading import NotReadable, read, table_of
from shared.instants import DAY, EPOCH, SECOND

CDNOW = LifetimeModel(r=0.2426, alpha=30.8952, a=0.7928, b=2.4255, p=6.248, q=3.745, gamma=15.452)
Bought = list[tuple[int, int, float]]  # day, second of it, amount

amounts = st.sampled_from([100.0, 50.0, -50.0, -100.0, 0.0, 0.1, 0.2, -0.3]) | st.floats(-1e6, 1e6)
histories = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 86_399), amounts), max_size=12)


def spent_of(bought: Bought, value: str = "total") -> dict[str, dict[int, float]]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "export.jsonl"
        rows = [
            {
                "customer_id": "c",
                "name": "Bought",
                "properties": json.dumps({"total": amount}),
                "occurred_at": (EPOCH + timedelta(days=day, seconds=second)).isoformat(),
            }
            for day, second, amount in [*bought, (99, 0, 1.0)]
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return read([path], frozenset({"Bought"}), value)


@given(histories)
def test_what_is_learnt_from_is_what_is_served(bought: Bought) -> None:
    held = sorted((day * DAY + second * SECOND, bytes([place]), amount) for place, (day, second, amount) in enumerate(bought))
    served = purchases_of(held, 50 * DAY)
    learnt = table_of(spent_of(bought), 50)
    if served is None:
        assert learnt.repeats == []
        return
    assert (learnt.repeats, learnt.recency_days) == ([served.repeats], [served.recency_days])
    assert learnt.mean_value == pytest.approx([served.mean_value])
    assert served.mean_value >= 0


@given(histories)
def test_silence_begins_with_the_last_event_of_the_last_day_that_was_a_purchase(history: Bought) -> None:
    held = sorted((day * DAY + second * SECOND, bytes([place]), amount) for place, (day, second, amount) in enumerate(history))
    days = bought({day: [amount for at, _, amount in held if at // DAY == day] for day in range(41)})
    assert last_bought(held) == max((at for at, _, _ in held if at // DAY in days), default=None)


@given(st.integers(0, 4_000 * DAY), st.integers(-DAY, 4_100 * DAY) | st.sampled_from([days * DAY for days in SILENCE_STEPS]))
def test_the_next_step_of_a_silence_is_the_first_that_is_still_to_come(silent_from: int, later: int) -> None:
    at = silent_from + later
    steps = [silent_from + days * DAY for days in SILENCE_STEPS]
    assert next_step(silent_from, at) == min((step for step in steps if step > at), default=None)


@pytest.mark.parametrize(
    "given_back",
    [[(50, -80.0), (60, -60.0)], [(90, -100.0)], [(50, 0.0)], [(50, 50.0), (50, -50.0)], [(50, 0.1), (50, 0.2), (50, -0.3)]],
    ids=["refunds", "all of it", "for nothing", "of one day", "but for a rounding"],
)
def test_who_gives_back_has_bought_nothing_anew(given_back: list[tuple[int, float]]) -> None:
    first = [(10 * DAY, b"0", 100.0)]
    more = [(day * DAY + place, bytes([place]), amount) for place, (day, amount) in enumerate(given_back, 1)]
    assert purchases_of([*first, *more], 100 * DAY) == purchases_of(first, 100 * DAY)


def test_a_day_counts_by_its_sum_and_silence_from_its_last_event() -> None:
    known = purchases_of(
        [(0, b"0", 30.0), (20 * DAY, b"1", 100.0), (20 * DAY + 60 * SECOND, b"2", -40.0), (25 * DAY, b"3", -1.0)], 30 * DAY
    )
    assert known is not None
    assert (known.repeats, known.recency_days, known.age_days, known.mean_value) == (1, 20, 29, 60.0)
    assert expected_purchases(CDNOW, known, 365) * expected_value(CDNOW, known) > 0


def test_who_only_gave_back_is_no_customer_of_the_model() -> None:
    assert purchases_of([(10 * DAY, b"0", -30.0)], 20 * DAY) is None
    assert list(spent_of([(10, 0, -30.0)])["c"]) == [99]


@pytest.mark.parametrize(
    "row",
    [
        '{"customer_id": "c", "name": "Bought", "properties": {"total": 1}, "occurred_at": "yesterday"}',
        '{"customer_id": "c", "name": "Bought", "properties": {"total": 1}, "occurred_at": null}',
        '{"customer_id": "c", "name": "Bought", "properties": "total", "occurred_at": "2026-01-01"}',
        '{"name": "Bought", "properties": {"total": 1}, "occurred_at": "2026-01-01"}',
        '["Bought"]',
        '{"customer_id": "c", "name": ["Bought"]}',
    ],
    ids=["an instant", "no instant", "properties", "whose", "a list", "a name"],
)
def test_a_row_that_is_no_event_is_named_by_its_file_and_number(tmp_path: Path, row: str) -> None:
    path = tmp_path / "export.jsonl"
    fine = '{"customer_id": "c", "name": "Bought", "properties": {"total": 1}, "occurred_at": "2026-01-01"}'
    path.write_text(f"{fine}\n{row}\n")
    with pytest.raises(NotReadable, match=r"^export\.jsonl, row 2: "):
        read([path], frozenset({"Bought"}), "total")
