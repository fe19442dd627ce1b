"""Laws of totals: exact, and one for each sum, in whatever order and in however many parts it was added."""

from fractions import Fraction
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.computed.definitions import MAX_NUMBER
from services.profile.domain.computed.totals import NOTHING, Total, plus, together

amounts = st.integers(-100_000, 100_000).map(lambda cents: cents / 100)
values = st.one_of(amounts, st.floats(-MAX_NUMBER, MAX_NUMBER), st.integers(-(10**15), 10**15))


def total_of(terms: list[float]) -> Total:
    total = NOTHING
    for term in terms:
        total = plus(total, [term])
    return total


@given(st.lists(values, max_size=30), st.randoms(), st.integers(0, 30))
def test_a_total_is_exact_and_the_same_in_any_order_and_in_any_parts(terms: list[float], random: Random, place: int) -> None:
    total, shuffled = total_of(terms), random.sample(terms, len(terms))
    assert total == total_of(shuffled) == plus(total_of(shuffled[:place]), shuffled[place:]) == plus(NOTHING, terms)
    assert total == together([total_of(shuffled[:place]), total_of(shuffled[place:])])
    assert (total.count, sum(map(Fraction, total.parts))) == (len(terms), sum(map(Fraction, terms)))
    assert total.sum == float(sum(map(Fraction, terms)))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(total), type=Total) == total


@given(st.lists(amounts, max_size=30))
def test_what_is_added_and_taken_away_again_leaves_nothing(terms: list[float]) -> None:
    assert total_of([*terms, *(-term for term in reversed(terms))]).parts == ()
