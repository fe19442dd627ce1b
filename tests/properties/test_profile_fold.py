"""Laws of the profile: order and duplication of events change nothing; a late event never overwrites newer truth."""

from random import Random
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.fold import evolve, happened_by
from services.profile.domain.golden import combine, golden_record
from services.profile.domain.rules import PLAIN
from services.profile.domain.rules_document import SHIPPED_RULES
from services.profile.domain.state import State, fork, state_hash
from shared.events import customer as events
from shared.events.catalogue import Entry
from shared.vault.envelope import DataKey
from tests.properties.histories import KEY, STREAMS, entries, fold, founded

histories = st.lists(entries(), max_size=25)


def by_stream(history: list[Entry]) -> dict[bytes, State]:
    return {stream: fold([founded(stream), *(e for e in history if e.stream == stream)]) for stream in STREAMS}


@given(histories, st.randoms())
def test_any_order_of_the_same_events_gives_the_same_state(history: list[Entry], random: Random) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)
    assert state_hash(fold(shuffled)) == state_hash(fold(history))


@given(histories, st.sampled_from([KEY, None]))
def test_both_parts_read_at_once_are_each_read_by_itself(history: list[Entry], key: DataKey | None) -> None:
    assert [entry.parts(key) for entry in history] == [(entry.public(), entry.personal(key)) for entry in history]


@given(histories)
def test_everything_delivered_twice_is_everything_once(history: list[Entry]) -> None:
    assert state_hash(fold(history + history)) == state_hash(fold(history))


@given(histories)
def test_combining_the_members_states_is_folding_all_their_events(history: list[Entry]) -> None:
    states = by_stream(history)
    whole = fold([founded(STREAMS[0]), *history])
    combined = combine(states)
    assert combined.traits == whole.traits
    assert combined.identifiers == whole.identifiers
    assert combined.last_seen_at == whole.last_seen_at
    assert combined.founded_at == whole.founded_at
    assert combined.edges.keys() == whole.edges.keys()
    assert state_hash(combine(dict(reversed(states.items())))) == state_hash(combined), "whichever member is asked for"


@given(histories)
def test_reading_merged_customers_together_leaves_each_as_it_was(history: list[Entry]) -> None:
    states = by_stream(history)
    before = {stream: state_hash(state) for stream, state in states.items()}
    golden_record(states, SHIPPED_RULES)  # what a read of the merged cluster does
    assert {stream: state_hash(state) for stream, state in states.items()} == before


@given(histories)
def test_the_golden_value_is_the_most_recent_by_when_it_happened(history: list[Entry]) -> None:
    record = golden_record(by_stream(history), SHIPPED_RULES)
    sent = [
        (e.occurred_at, e.event_id, personal.traits) for e in history if isinstance(personal := e.personal(KEY), events.Identified)
    ]
    for name in {name for _, _, traits in sent for name in traits}:
        winner = max(((at, event_id) for at, event_id, traits in sent if name in traits))
        value = next(traits[name] for at, event_id, traits in sent if (at, event_id) == winner)
        if value is None:
            assert name not in record.traits, "null removes a trait"
        else:
            assert record.traits[name].value == value


@given(histories, st.integers(0, 20))
def test_a_valid_time_is_a_history_that_ends_there(history: list[Entry], valid_at: int) -> None:
    cut = [e for e in history if happened_by(e, valid_at)]
    about_the_graph = (events.MERGED.id, events.SPLIT.id, events.LINKED.id, events.UNLINKED.id)
    assert all(e.occurred_at <= valid_at or e.type_id in about_the_graph for e in cut)
    late_ignored = fold([e for e in cut if e.type_id not in about_the_graph])
    assert late_ignored.last_seen_at <= valid_at


@given(histories)
def test_a_reader_keeps_what_it_read_while_the_writer_goes_on(history: list[Entry]) -> None:
    original = fold(history[: len(history) // 2])
    before = state_hash(original)
    copy = fork(original)
    for e in history[len(history) // 2 :]:
        evolve(copy, e, e.public(), e.personal(KEY), PLAIN)
    assert state_hash(original) == before
    assert state_hash(copy) == state_hash(fold(history))


@given(histories, st.randoms())
def test_which_traits_stay_within_the_limit_is_no_matter_of_order(history: list[Entry], random: Random) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)
    with patch("services.profile.domain.state.MAX_TOLD", 2):
        assert state_hash(fold(shuffled)) == state_hash(fold(history))
        states = by_stream(history)
        assert combine(states).traits == fold(history).traits
