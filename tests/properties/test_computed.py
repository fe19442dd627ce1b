"""Laws of computed traits: a function of the set of events and of the instant, whatever is kept and in whatever order it came."""

from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.computed.aggregates import computed, next_change, next_of, values
from services.profile.domain.computed.document import TOTALLED
from services.profile.domain.computed.occurrences import Kept, Occurrence
from services.profile.domain.computed.take import join
from services.profile.domain.fold import happened_by
from shared.events.catalogue import Entry
from shared.instants import DAY
from tests.properties.naive_computed import naive
from tests.properties.purchases import MINUTE, START, compiled, every_kind, kept_of, numbered, once, purchases, recorded_of

TRAITS = every_kind()
DEFINITIONS = compiled(TRAITS)
histories = st.lists(purchases(), max_size=14)
instants = st.builds(
    lambda day, quarter, odd: START + day * DAY + quarter * 15 * MINUTE + odd,
    st.integers(0, 9),
    st.integers(0, 8),
    st.integers(-2, 2),
)


UNBOUNDED = {f"{aggregate}_0" for aggregate in (*TOTALLED, "min", "max", "first", "last")} | {"since"}


def received(history: list[Entry]) -> int:
    """No read is before it."""
    return max((entry.public().received_at for entry in history), default=START)


def told(kept: dict[str, Kept], at: int) -> dict[str, Any]:
    return {name: one.value for name, one in values(kept, DEFINITIONS, at).items()}


@given(histories, st.randoms(), st.booleans())
def test_any_order_and_any_duplication_of_the_same_events_keeps_the_same(
    history: list[Entry], random: Random, scarce: bool
) -> None:
    shuffled = history + [entry for entry in history if random.random() < 0.5]
    random.shuffle(shuffled)
    reread = numbered(history) + numbered(history)
    random.shuffle(reread)
    with patch("services.profile.domain.computed.definitions.MAX_OCCURRENCES", 3 if scarce else 1_000):
        kept = recorded_of(DEFINITIONS, numbered(history))
        assert recorded_of(DEFINITIONS, reread) == recorded_of(DEFINITIONS, numbered(shuffled)) == kept
        if not scarce:  # while it is kept, an event is known again by its id alone
            assert kept_of(DEFINITIONS, shuffled) == kept_of(DEFINITIONS, history) == kept


@given(histories, st.randoms(), st.booleans(), st.integers(0, 3))
def test_taken_together_events_keep_what_they_keep_one_by_one(history: list[Entry], random: Random, scarce: bool, few: int) -> None:
    records = numbered(history)
    records += [record for record in records if random.random() < 0.3]
    random.shuffle(records)
    with (
        patch("services.profile.domain.computed.definitions.MAX_OCCURRENCES", 3 if scarce else 1_000),
        patch("services.profile.domain.computed.occurrences.FEW", few),
    ):
        assert recorded_of(DEFINITIONS, records, together=random.randint(2, 15)) == recorded_of(DEFINITIONS, records)


@given(histories, st.booleans())
def test_joining_what_customers_keep_is_taking_all_their_events(history: list[Entry], scarce: bool) -> None:
    with patch("services.profile.domain.computed.definitions.MAX_OCCURRENCES", 3 if scarce else 1_000):
        history = once(history) if scarce else history
        whole = kept_of(DEFINITIONS, history)
        apart = [kept_of(DEFINITIONS, [e for e in history if e.stream == stream]) for stream in {e.stream for e in history}]
        before = msgspec.msgpack.encode(apart)
        joined: dict[str, Kept] = {}
        for one in apart:
            joined = join([joined, one])
            assert join([one, joined]) == joined, "joining again changes nothing"
        assert joined == join(apart) == whole
        assert msgspec.msgpack.encode(apart) == before, "what is joined stays as it was"


@given(histories, instants)
def test_values_are_those_of_a_naive_evaluation_over_all_events(history: list[Entry], at: int) -> None:
    at = max(at, received(history))
    found = told(kept_of(DEFINITIONS, history), at)
    for name, trait in TRAITS.items():
        assert found[name] == naive(history, trait, at), name


@given(histories, instants)
def test_values_as_of_an_instant_are_those_of_the_history_cut_there(history: list[Entry], valid_at: int) -> None:
    cut = [entry for entry in history if happened_by(entry, valid_at)]
    found = told(kept_of(DEFINITIONS, cut), valid_at)
    for name, trait in TRAITS.items():
        assert found[name] == naive(cut, trait, valid_at), name


@given(histories)
def test_of_more_than_is_kept_the_newest_stay_and_it_is_said(history: list[Entry]) -> None:
    at = received(history)
    with patch("services.profile.domain.computed.definitions.MAX_OCCURRENCES", 3):
        found = values(recorded_of(DEFINITIONS, numbered(history)), DEFINITIONS, at)
    for name, trait in TRAITS.items():
        if not found[name].cut:
            assert found[name].value == naive(history, trait, at), name
        else:
            assert name not in UNBOUNDED, "of all that ever happened there is a total"
            assert found[name].counted <= 3


def test_it_is_a_change_that_nothing_is_missing_any_more() -> None:
    definition = next(one for one in DEFINITIONS.all.values() if one.span.sliding_us and one.aggregate == "count")
    window = definition.span.sliding_us
    assert window is not None
    occurrences: list[Occurrence] = [(DAY + at, bytes([at]) * 16, None) for at in (7, 8, 9)]
    kept = Kept("newest", window, 3, occurrences=occurrences, cut_at=DAY + 5)
    marks = [computed(kept, definition, DAY + window + at).cut for at in (4, 5)]
    assert (next_of(kept, definition, DAY + 9), marks) == (DAY + window + 5, [True, False])
    assert next_of(kept, definition, DAY + window + 5) == DAY + window + 7, "then one leaves"


@given(histories, instants, st.data(), st.booleans())
def test_until_the_next_change_nothing_changes_and_changes_end(
    history: list[Entry], at: int, data: st.DataObject, scarce: bool
) -> None:
    """Neither a value nor whether it is cut."""
    with patch("services.profile.domain.computed.definitions.MAX_OCCURRENCES", 3 if scarce else 1_000):
        kept, at = kept_of(DEFINITIONS, history), max(at, received(history))
        _require_steady_until_changes(kept, at, data, history)


def _require_steady_until_changes(kept: dict[str, Kept], at: int, data: st.DataObject, history: list[Entry]) -> None:
    def told(kept: dict[str, Kept], at: int) -> dict[str, Any]:
        return {name: (one.value, one.cut) for name, one in values(kept, DEFINITIONS, at).items()}

    readings = {"since"}
    wakes = 0
    while (then := next_change(kept, DEFINITIONS, at)) is not None:
        assert then > at
        between = {then - 1, data.draw(st.integers(at, then - 1))}
        now = told(kept, at)
        for instant in between:
            later = told(kept, instant)
            assert {n: v for n, v in later.items() if n not in readings} == {n: v for n, v in now.items() if n not in readings}
        at, wakes = then, wakes + 1
        assert wakes <= 6 * len(TRAITS) * max(len(history), 1) + 100
    rest = told(kept, at + 1_000 * DAY)
    assert {n: v for n, v in rest.items() if n not in readings} == {n: v for n, v in told(kept, at).items() if n not in readings}
