"""The law of sizes over time: at every instant a size is what counting one by one gives, or it is said why it isn't told."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.sizes import NOT_BEGUN, NOT_DEFINED, NOT_IN_PURPOSE, NOT_SETTLED, Settling, instants, sizes

times = st.integers(0, 40)
# By whom and when a segment was entered and left, in turns; and by which rules, from when on and until when all were looked at.
members = st.lists(st.lists(times, unique=True, max_size=6).map(sorted), max_size=5)
terms = st.lists(st.tuples(times, st.none() | st.integers(0, 20)), max_size=4).map(
    lambda found: [
        Settling(number, begun, None if took is None else begun + took)
        for number, (begun, took) in enumerate(sorted(found, key=lambda one: one[0]), 1)
    ]
)
sights = st.dictionaries(st.integers(1, 4), st.booleans())


@given(members, terms, sights, times, times, st.integers(1, 15), st.integers(1, 10))
def test_a_size_is_what_counting_gives_or_it_is_said_why_it_is_not_told(
    turns: list[list[int]], settlings: list[Settling], sees: dict[int, bool], first: int, last: int, step: int, at_most: int
) -> None:
    asked = instants(first, last, step, at_most)
    assert asked == [at for at in range(first, 41) if at <= last and (at - first) % step == 0][:at_most]
    grown: dict[int, int] = {}
    for own in turns:
        for turn, at in enumerate(own):
            index = bisect_left(asked, at)
            grown[index] = grown.get(index, 0) + (-1 if turn % 2 else 1)
    found = sizes(asked, grown, settlings, sees.get)
    assert [one.at for one in found] == asked
    for one in found:
        counted = sum(1 for own in turns if len([at for at in own if at <= one.at]) % 2)
        by = [settling for settling in settlings if settling.begun_at <= one.at]
        if not by:
            why = NOT_BEGUN
        elif by[-1].rules_version not in sees:
            why = NOT_DEFINED
        elif not sees[by[-1].rules_version]:
            why = NOT_IN_PURPOSE
        else:
            why = "" if by[-1].settled_at is not None and by[-1].settled_at <= one.at else NOT_SETTLED
        assert (one.unknown, one.rules_version) == (why, by[-1].rules_version if by else 0)
        assert one.size == (None if why else counted)
