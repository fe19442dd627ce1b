"""Laws of the sieve: what was added is always found where it was added, and little else passes."""

import random

from hypothesis import given
from hypothesis import strategies as st

from shared.ids import derived_id
from shared.sieve import FIRST_WIDTH, WIDTH, Sieve, first_of, place_of

placed = st.lists(st.tuples(st.integers(0, FIRST_WIDTH + WIDTH), st.integers(0, 1_000)), max_size=30)


def an_id(number: int) -> bytes:
    return derived_id(b"event", b"%d" % number)


@given(placed)
def test_what_was_added_passes_for_ever_also_from_what_was_kept(added: list[tuple[int, int]]) -> None:
    sieve, again = Sieve(2**12), Sieve(2**12)
    for generation, number in added:
        sieve.add(generation, [an_id(number)])
    for number in {place_of(generation)[0] for generation, _ in added}:
        again.put_block(number, sieve.block(number))
    for found in (sieve, again):
        possible = set(found.possible([an_id(number) for _, number in added]))
        assert {(generation, an_id(number)) for generation, number in added} <= possible


@given(st.integers(0, 10_000))
def test_every_generation_has_one_place(generation: int) -> None:
    number, place = place_of(generation)
    assert first_of(number) + place == generation
    assert 0 <= place < (WIDTH if number else FIRST_WIDTH)


def test_of_a_full_generation_one_in_a_thousand_passes_that_is_not_there() -> None:
    chance = random.Random(1)
    positions = 2**18
    sieve = Sieve(positions)
    sieve.add_joined(3, chance.randbytes(positions))  # a sixteenth as many ids
    strangers = [chance.randbytes(16) for _ in range(100_000)]
    assert 0.0005 < len(sieve.possible(strangers)) / len(strangers) < 0.0015
