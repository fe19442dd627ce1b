"""Laws of computed traits in the golden record: they are part of the state, so merges, splits, snapshots and erasure hold for them too."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.fold import evolve
from services.profile.domain.golden import COMPUTED, combine, golden_record
from services.profile.domain.rules import fold_digest
from services.profile.domain.rules_document import RulesDocument, read, rules_of, to_json
from services.profile.domain.state import State, fork, state_hash
from shared.errors import InvalidInput
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import derived_id
from tests.properties.histories import KEY, STREAMS, fold, founded
from tests.properties.naive_computed import naive
from tests.properties.purchases import START, every_kind, purchases
from tests.properties.test_computed import histories, instants, received

TRAITS = every_kind()


def document(section: dict[str, Any]) -> RulesDocument:
    return read(msgspec.json.encode({"computed": section}).decode())


RULES = rules_of(document(TRAITS), 2)


def by_stream(history: list[Entry]) -> dict[bytes, State]:
    return {stream: fold([founded(stream), *(e for e in history if e.stream == stream)], RULES.keeping) for stream in STREAMS}


@given(histories, instants)
def test_what_is_served_of_merged_customers_is_the_naive_value_over_all_their_events(history: list[Entry], at: int) -> None:
    at = max(at, received(history))
    served = golden_record(by_stream(history), RULES, at=at).traits
    for name, trait in TRAITS.items():
        expected = naive(history, trait, at)
        assert (served[name].value if name in served else None) == expected, name
        assert name not in served or served[name].source == COMPUTED


@given(histories, st.randoms())
def test_the_state_is_the_same_in_any_order_and_for_one_stream_or_several(history: list[Entry], random: Random) -> None:
    shuffled = history + history[: len(history) // 2]
    random.shuffle(shuffled)
    assert {s: state_hash(state) for s, state in by_stream(shuffled).items()} == {
        s: state_hash(state) for s, state in by_stream(history).items()
    }
    assert combine(by_stream(history)).computed == fold(history, RULES.keeping).computed


@given(histories.filter(bool), st.randoms())
def test_since_when_a_trait_holds_is_a_function_of_what_happened_and_not_of_what_came_first(
    history: list[Entry], random: Random
) -> None:
    shuffled = random.sample(history, len(history))
    one, other = (
        golden_record(
            {STREAMS[0]: fold([founded(STREAMS[0], order[0].occurred_at), *order], RULES.keeping)}, RULES, at=received(history)
        )
        for order in (history, shuffled)
    )
    assert one.traits == other.traits
    assert one.founded_at == min(entry.occurred_at for entry in history)


@given(histories)
def test_a_state_that_was_stored_goes_on_where_it_was(history: list[Entry]) -> None:
    half = len(history) // 2
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(fold(history[:half], RULES.keeping)), type=State)
    reader = fork(stored)
    before = state_hash(reader)
    for entry in history[half:]:
        evolve(stored, entry, entry.public(), entry.personal(KEY), RULES.keeping)
    assert state_hash(stored) == state_hash(fold(history, RULES.keeping))
    assert state_hash(reader) == before, "a reader keeps what it read"


@given(histories, purchases())
def test_after_an_erasure_nothing_is_kept_and_nothing_is_taken(history: list[Entry], late: Entry) -> None:
    public = events.CustomerErased(erasure_id=b"e" * 16, policy="refuse", identifier_hashes=())
    erased = make_entry(events.ERASED, STREAMS[0], derived_id(b"erased"), START, public)
    assert fold([*history, erased, late], RULES.keeping).computed == {}


@given(histories)
def test_without_its_key_an_event_doesnt_count(history: list[Entry]) -> None:
    state = State()
    for entry in history:
        evolve(state, entry, entry.public(), entry.personal(None), RULES.keeping)
    assert state.computed == {}


def test_what_is_kept_decides_which_states_are_folded_anew() -> None:
    orders = {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "30d"}
    digest = fold_digest(rules_of(document({"orders": orders}), 1).keeping)
    again = fold_digest(rules_of(read(to_json(document({"orders": orders | {"title": "Orders"}}))), 2).keeping)
    assert again == digest, "a title changes nothing that is kept"
    for changed in ({"window": "31d"}, {"of": "event.name == 'Cart Viewed'"}, {"window": None}):
        assert fold_digest(rules_of(document({"orders": orders | changed}), 1).keeping) != digest


@pytest.mark.parametrize(
    ("trait", "told"),
    [
        ({"of": "event.name", "aggregate": "count"}, "computed.x.of: it has to be bool"),
        ({"of": "now > event.occurred_at", "aggregate": "count"}, "computed.x.of, line 1, column 1: undeclared reference to 'now'"),
        ({"of": "true", "aggregate": "sum"}, "computed.x: sum needs a value"),
        ({"of": "true", "aggregate": "count", "value": "1"}, "computed.x: count takes no value"),
        ({"of": "true", "aggregate": "count", "window": "30"}, "computed.x.window: a duration is a whole number of s, m, h or d"),
        ({"of": "true", "aggregate": "count", "window": {"session": "2d"}}, "here at most 1d"),
        ({"of": "true", "aggregate": "time_since", "window": "1d"}, "time_since has no window"),
        ({"of": "true", "aggregate": "rfm", "value": "1.0"}, "needs scores"),
        ({"of": "true", "aggregate": "mean"}, "computed.x.aggregate: invalid enum value 'mean'"),
    ],
)
def test_a_definition_that_is_wrong_is_refused_with_its_name_and_place(trait: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        document({"x": trait})
    assert caught.value.reason == "RULES_INVALID"
