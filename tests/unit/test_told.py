"""What a watcher was told: nothing twice, and nobody left out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.api.told import Told

ONE, OTHER, THIRD = b"one", b"other", b"third"
LEFT = "NOT_IN_SEGMENT"
clusters = st.lists(st.sampled_from([ONE, OTHER, THIRD]), min_size=1, max_size=3, unique=True)
steps = st.lists(st.tuples(clusters, st.sampled_from([b"", LEFT.encode(), b"ERASED"])), max_size=12)


@pytest.mark.parametrize("after", [[ONE], [OTHER], [OTHER, ONE], [ONE, OTHER]])
def test_who_was_told_to_be_gone_is_gone_with_whomever_she_is_one(after: Sequence[bytes]) -> None:
    told = Told(others=False)
    told.is_news([OTHER], b"a profile")
    assert told.is_gone([ONE, OTHER], LEFT, by_name=True), "both are gone"
    assert not told.is_gone(after, LEFT, by_name=True)
    assert told.is_gone(after, "ERASED", by_name=True), "for another reason"


def test_who_is_joined_with_one_who_is_gone_may_be_held() -> None:
    told = Told(others=False)
    told.is_news([OTHER], b"a profile")
    assert told.is_gone([ONE], LEFT, by_name=True)
    assert told.is_gone([ONE, OTHER], LEFT, by_name=True)
    assert told.is_news([OTHER], b"a profile"), "she comes back"
    assert told.is_gone([OTHER], LEFT, by_name=True)


@given(steps)
def test_who_keeps_what_is_told_holds_what_is_shown_and_hears_nothing_twice(told_of: list[tuple[list[bytes], bytes]]) -> None:
    """Each step is a look at customers who are one: a profile, or a reason why there is none."""
    told, held, shown = Told(others=False), set[bytes](), set[bytes]()
    for number, (members, reason) in enumerate(told_of):
        shown -= set(members)
        if not reason:
            assert told.is_news(members, b"%d" % number)
            held, shown = held - set(members) | {members[0]}, shown | {members[0]}
        elif told.is_gone(members, reason.decode(), by_name=told.was_shown(members)):
            held -= set(members)
            assert not told.is_gone(members, reason.decode(), by_name=told.was_shown(members))
        assert held == shown
