"""What was committed just now is told without asking the log, and only what stands there."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.profile.notices import PAGE_EVENTS, TOLD_EVENTS, Newest

LOG = [(pos, b"%d" % (pos % 7)) for pos in range(3 * TOLD_EVENTS)]
bounds = st.lists(st.integers(0, len(LOG)), min_size=2, max_size=8, unique=True).map(sorted)


@given(bounds=bounds, skipped=st.sets(st.integers(0, 6), max_size=2), first=st.integers(0, len(LOG)))
def test_a_page_is_what_the_log_has_from_there_on_or_the_log_is_asked(bounds: list[int], skipped: set[int], first: int) -> None:
    newest = Newest()
    for number, (begin, end) in enumerate(pairwise(bounds)):
        if number not in skipped:
            newest.add(LOG[begin:end])
    page = newest.page(first)
    assert page == LOG[first : first + len(page)]
    assert len(page) <= PAGE_EVENTS


def test_what_follows_is_told_page_by_page_without_the_log() -> None:
    newest, told = Newest(), 10
    newest.add(LOG[10:11])
    newest.add(LOG[11 : TOLD_EVENTS + 10])
    while page := newest.page(told):
        told = page[-1][0] + 1
    assert told == TOLD_EVENTS + 10


def test_of_what_nobody_published_no_more_is_kept_than_its_bound() -> None:
    newest = Newest()
    newest.add(LOG)
    assert newest.page(0) == []
    assert newest.page(len(LOG) - TOLD_EVENTS) == LOG[-TOLD_EVENTS:][:PAGE_EVENTS]
