"""Who names ever new identifiers or traits is kept within limits, at a cost for each event that doesn't grow with what is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain import state as states
from services.profile.domain.fold import evolve
from services.profile.domain.rules import PLAIN
from services.profile.domain.state import State, fork
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import derived_id
from tests.properties.histories import KEY, STREAMS

LIMIT = 3
namings = st.lists(st.tuples(st.integers(0, 20), st.lists(st.integers(0, 9), max_size=3)), max_size=20)  # (at, numbers named)


@contextmanager
def room_for(names: int) -> Iterator[None]:
    with patch.object(states, "MAX_NAMED", names), patch.object(states, "MAX_TRAITS", names):
        yield


def named(number: int) -> bytes:
    return derived_id(bytes([number]))


def add(state: State, at: int, numbers: list[int]) -> None:
    """An event that names the identifiers, and says a trait of each number: every third removes it."""
    hashes = tuple(map(named, numbers))
    public = events.Activity(source="web", resolved_by=hashes[0], also_named=hashes[1:], received_at=0)
    said = events.Identified(traits={f"trait {number}": None if (at + number) % 3 == 0 else number for number in numbers})
    entry: Entry = make_entry(events.IDENTIFIED, STREAMS[0], derived_id(repr((at, numbers)).encode()), at, public, said, KEY)
    evolve(state, entry, public, said, PLAIN)


@given(namings, st.randoms(use_true_random=False))
def test_the_smallest_stay_in_any_order_and_with_whatever_was_read_between(
    told: list[tuple[int, list[int]]], random: Random
) -> None:
    told = [one for one in told if one[1]] * 2
    random.shuffle(told)
    state = State()
    with room_for(LIMIT):
        for at, numbers in told:
            add(state, at, numbers)
            if random.random() < 0.3:
                state = fork(state)
    earliest = {number: min(at for at, numbers in told if number in numbers) for _, numbers in told for number in numbers}
    assert state.named == {named(number): earliest[number] for number in sorted(earliest, key=named)[:LIMIT]}
    names = sorted((f"trait {number}" for number in earliest), key=states._rank_of_name)[:LIMIT]
    assert state.traits.keys() | state.removals.keys() == set(names)


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
