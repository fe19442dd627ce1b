"""Laws of counting different ones: who keeps to the bound is never refused, and of a while hardly more than the bound get through."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from shared.distinct import Distinct

SPAN_S = 60.0
BATCHES = st.lists(st.lists(st.integers(0, 40), max_size=6), max_size=40)


def key(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=24).digest()


@given(BATCHES)
def test_who_keeps_to_the_bound_is_never_refused_however_often_it_asks(batches: list[list[int]]) -> None:
    different = {number for batch in batches for number in batch}
    counted = Distinct(max(1, len(different)), SPAN_S, 0.0)
    assert all(counted.take([key(number) for number in batch], 1.0) == 0 for batch in batches)


@given(BATCHES, st.integers(1, 30))
def test_what_is_taken_and_what_is_refused_is_told_as_a_set_would(batches: list[list[int]], most: int) -> None:
    counted, known = Distinct(most, SPAN_S, 0.0), set[int]()
    for batch in batches:
        taken = counted.take([key(number) for number in batch], 5.0) == 0
        fits = len(known | set(batch)) <= most
        assert taken or not fits
        known |= set(batch) if taken else set()
        assert counted.count <= most


def test_of_many_hardly_more_than_the_bound_get_through() -> None:
    counted = Distinct(20_000, SPAN_S, 0.0)
    through = sum(counted.take([key(number)], 1.0) == 0 for number in range(40_000))
    assert 20_000 <= through <= 20_000 * 1.01


@given(st.floats(0, 59.9))
def test_who_waits_as_long_as_is_said_gets_through(later: float) -> None:
    counted = Distinct(2, SPAN_S, 0.0)
    assert counted.take([key(1), key(2)], 0.0) == 0
    wait = counted.take([key(3)], later)
    assert 0 < wait <= SPAN_S
    assert counted.take([key(3)], later + wait + 1e-6) == 0
    assert counted.count == 1
