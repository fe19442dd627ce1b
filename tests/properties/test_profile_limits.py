"""Who names ever new identifiers or traits is kept within limits, at a cost for each event that doesn't grow with what is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from services.profile import new_rules
from services.profile.domain import golden
from services.profile.domain import state as states
from services.profile.domain.explanation import explain
from services.profile.domain.fold import evolve
from services.profile.domain.golden import golden_record
from services.profile.domain.membership import judged_by_less, rests_on_less, standing, standing_by
from services.profile.domain.rules import PLAIN, Keeping
from services.profile.domain.rules_document import SHIPPED_RULES, read, rules_of
from services.profile.domain.said import Assertion
from services.profile.domain.state import State, fork, is_kept_for
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import derived_id
from tests.properties.histories import KEY, STREAMS

LIMIT = 3
namings = st.lists(st.tuples(st.integers(0, 20), st.lists(st.integers(0, 9), max_size=3)), max_size=20)  # (at, numbers named)


@contextmanager
def room_for(names: int) -> Iterator[None]:
    with patch.object(states, "MAX_NAMED", names), patch.object(states, "MAX_TOLD", names):
        yield


@contextmanager
def room_for_traits(names: int) -> Iterator[None]:
    """Of a state and of a profile."""
    with (
        patch.object(states, "MAX_TOLD", names),
        patch.object(golden, "MAX_TRAITS", names),
        patch.object(new_rules, "MAX_TRAITS", names),
    ):
        yield


def named(number: int) -> bytes:
    return derived_id(bytes([number]))


def add(state: State, at: int, numbers: list[int], keeping: Keeping) -> None:
    """An event that names the identifiers, and says a trait of each number: every third removes it."""
    hashes = tuple(map(named, numbers))
    public = events.Activity(source="web", resolved_by=hashes[0], also_named=hashes[1:], received_at=0)
    said = events.Identified(traits={f"trait {number}": None if (at + number) % 3 == 0 else number for number in numbers})
    entry: Entry = make_entry(events.IDENTIFIED, STREAMS[0], derived_id(repr((at, numbers)).encode()), at, public, said, KEY)
    evolve(state, entry, public, said, keeping)


def say(state: State, at: int, traits: dict[str, Any], keeping: Keeping) -> None:
    public = events.Activity(source="web", resolved_by=named(0), received_at=at)
    said = events.Identified(traits=traits)
    entry: Entry = make_entry(
        events.IDENTIFIED, STREAMS[0], derived_id(repr(sorted(traits)).encode(), bytes([at])), at, public, said, KEY
    )
    evolve(state, entry, public, said, keeping)


@given(namings, st.sets(st.integers(0, 9)), st.randoms(use_true_random=False))
def test_those_the_rules_name_and_the_smallest_stay_in_any_order_and_with_whatever_was_read_between(
    told: list[tuple[int, list[int]]], first: set[int], random: Random
) -> None:
    told = [one for one in told if one[1]] * 2
    random.shuffle(told)
    keeping = Keeping(first=frozenset(f"trait {number}" for number in first))
    state = State()
    with room_for(LIMIT):
        for at, numbers in told:
            add(state, at, numbers, keeping)
            if random.random() < 0.3:
                state = fork(state)
    earliest = {number: min(at for at, numbers in told if number in numbers) for _, numbers in told for number in numbers}
    assert state.named == {named(number): earliest[number] for number in sorted(earliest, key=named)[:LIMIT]}
    names = sorted((number not in first, b"" if number in first else states._rank_of_name(name), name) for number in earliest
                   for name in [f"trait {number}"])  # fmt: skip
    assert state.traits.keys() | state.removals.keys() == {name for _, _, name in names[:LIMIT]}
    assert state.left_out_for == (keeping.digest_of_first if len(names) > LIMIT else b""), "what is left out is said"


def test_one_more_of_too_many_is_looked_up_and_not_all_of_them_looked_at() -> None:
    ranked = 0

    def rank(key: str | bytes) -> bytes:
        nonlocal ranked
        ranked += 1
        return key if isinstance(key, bytes) else key.encode()

    room, told = 100, 500
    state = State()
    with room_for(room), patch.object(states, "_rank_of_name", rank), patch.object(states, "_rank_of_hash", rank):
        for number in range(told):
            public = events.Activity(source="web", resolved_by=derived_id(b"%d" % number), received_at=0)
            said = events.Identified(traits={f"trait {number}": number})
            entry = make_entry(events.IDENTIFIED, STREAMS[0], derived_id(b"event", b"%d" % number), 0, public, said, KEY)
            evolve(state, entry, public, said, PLAIN)
    assert (len(state.named), len(state.traits)) == (room, room)
    assert ranked <= 2 * (told + room), "each once, and those that were there once more"


def test_whoever_invents_names_ousts_no_trait_that_the_rules_name_and_it_is_said() -> None:
    rules = rules_of(
        read(
            '{"traits": {"email": {}}, "segments": {"us": {"when": "traits.country == \'US\'"}, "any": {"when": "size(traits) > 1"}}}'
        ),
        2,
    )
    state, kept = State(), {"email": "ada@example.com", "country": "US"}
    assert not golden_record({STREAMS[0]: state}, rules).left_out
    say(state, 0, kept, rules.keeping)
    say(state, 1, {f"invented {number}": number for number in range(states.MAX_TOLD)}, rules.keeping)
    record = golden_record({STREAMS[0]: state}, rules)
    assert {name: record.traits[name].value for name in kept} == kept
    assert (len(record.traits), record.left_out) == (states.MAX_TRAITS, True)
    assert rules.segments is not None
    assert judged_by_less(record, rules) == {"any"}
    assert standing_by({STREAMS[0]: state}, rules, rules.segments, (), 0) == standing([state], record, rules, 0)
    assert not is_kept_for(state, PLAIN), "other rules may have left out others"


@given(st.permutations([("short", 0), ("x" * 5_000, 1), (None, 2), ("y" * 5_000, 3), ("again", 4)]), st.integers(1, 5))
def test_that_a_value_is_too_large_to_carry_is_said_in_any_order(told: list[tuple[str | None, int]], until: int) -> None:
    rules, told = (
        rules_of(read('{"segments": {"memo": {"when": "traits.memo == \'short\'"}}}'), 2),
        [one for one in told if one[1] < until],
    )
    state = State()
    for value, at in told:
        say(state, at, {"memo": value}, rules.keeping)
    record = golden_record({STREAMS[0]: state}, rules)
    shown = record.traits.get("memo")
    expected = {
        1: ("short", False, []),
        2: ("short", True, []),
        3: (None, False, []),
        4: (None, False, ["memo"]),
        5: ("again", False, []),
    }
    assert (shown.value if shown else None, bool(shown and shown.cut), sorted(record.too_large)) == expected[until]
    assert rules.segments is not None
    assert rests_on_less(rules.segments.conditions["memo"], record, rules) is (until in (2, 4))
    everything = [Assertion("web", value, at, at, bytes([at])) for value, at in told]
    assert explain(everything, "memo", rules, ()).cut is (until in (2, 4))


def test_as_many_may_have_been_removed_as_there_are() -> None:
    state, gone = State(), {f"gone {number}": number for number in range(states.MAX_TRAITS)}
    say(state, 0, gone, PLAIN)
    say(state, 1, dict.fromkeys(gone), PLAIN)
    say(state, 2, {f"there {number}": number for number in range(states.MAX_TRAITS)}, PLAIN)
    record = golden_record({STREAMS[0]: state}, SHIPPED_RULES)
    assert (len(record.traits), record.left_out) == (states.MAX_TRAITS, False)
    assert all(name.startswith("there") for name in record.traits)
