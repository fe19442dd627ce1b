"""Laws of pages: one after the other they are the whole list; what was not made by us, or of something else, is no token."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Position
from c360.profile.v1.profile_pb2 import GetTimelineRequest, ListMembersRequest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from services.identity.api.matching import BY_WEIGHT
from shared.errors import InvalidInput
from shared.rpc.paging import BEFORE_ALL, BY_NUMBER, PAGE_DEFAULT, PAGE_MAX, Page, query_of
from shared.rpc.parked import PLACES

QUERY = b"a list"
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@dataclass
class Asked:
    page_size: int = 0
    page_token: str = ""


@given(st.sets(st.tuples(st.integers(0, 5), st.binary(max_size=2)), max_size=30), st.integers(0, 12))
def test_pages_one_after_the_other_are_the_whole_list(rows: set[tuple[int, bytes]], size: int) -> None:
    listed, asked, pages = list[tuple[int, bytes]](), Asked(size), 0
    while True:
        page = Page(asked, BY_NUMBER, QUERY)
        after = sorted(row for row in rows if row > (page.after or BEFORE_ALL))
        shown, asked.page_token = page.cut(after[: page.wanted], lambda row: row)
        assert shown or not rows, "a page that nobody needed"
        listed, pages = listed + list(shown), pages + 1
        if not asked.page_token:
            break
    assert listed == sorted(rows)
    assert pages == max(1, -(-len(rows) // (size or PAGE_DEFAULT)))


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_page_has_a_bound_and_no_negative_size(size: int) -> None:
    if size < 0:
        with pytest.raises(InvalidInput) as refused:
            Page(Asked(size), BY_NUMBER, QUERY)
        assert refused.value.reason == "PAGE_SIZE_INVALID"
    else:
        assert 1 < Page(Asked(size), BY_NUMBER, QUERY).wanted <= PAGE_MAX + 1


@given(
    st.one_of(
        st.tuples(st.just(BY_NUMBER), st.tuples(NUMBERS, st.binary(max_size=16))),
        st.tuples(st.just(BY_WEIGHT), st.tuples(st.floats(allow_nan=False), st.tuples(st.binary(), st.binary()))),
        st.tuples(st.just(PLACES), st.tuples(st.just("CUSTOMER"), NUMBERS, st.integers(-1, 2**31 - 1))),
    )
)
def test_a_token_leads_to_its_place(case: tuple[msgspec.msgpack.Decoder[object], object]) -> None:
    places, place = case
    _, token = Page(Asked(1), places, QUERY).cut([1, 2], lambda _: place)
    assert Page(Asked(1, token), places, QUERY).after == place


@pytest.mark.parametrize("places", [BY_NUMBER, BY_WEIGHT, PLACES], ids=["by number", "by weight", "parked"])
@given(token=st.one_of(st.text(min_size=1), st.binary().map(lambda raw: raw.hex()), st.from_regex(r"[A-Za-z0-9_\-]{4,40}=?=?")))
def test_what_is_no_token_of_ours_is_refused_and_never_a_crash(places: msgspec.msgpack.Decoder[object], token: str) -> None:
    with suppress(InvalidInput):
        Page(Asked(0, token), places, QUERY)


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
@pytest.mark.parametrize(("places", "place"), [(BY_NUMBER, lambda n: (n, b"")), (PLACES, lambda n: ("CUSTOMER", n, 0))])
def test_a_number_that_no_table_has_is_refused(places: Any, place: Callable[[int], Any], number: int) -> None:
    with pytest.raises(InvalidInput, match="not a page token of ours"):
        Page(Asked(1, Page(Asked(1), places, QUERY).token_of(place(number))), places, QUERY)


CUSTOMER_ID = st.sampled_from(["", "one", "other"])
INSTANT = st.sampled_from([None, Timestamp(seconds=1), Timestamp(seconds=2)])
ASKED = st.builds(
    lambda who, purpose, kinds, at: GetTimelineRequest(
        customer=CustomerRef(customer_id=who), purpose=purpose, kinds=kinds, valid_at=at
    ),
    CUSTOMER_ID,
    st.sampled_from(["", "service", "audit"]),
    st.lists(st.sampled_from(["order", "page"]), max_size=2),
    INSTANT,
)


@given(ASKED, ASKED, st.integers(1, PAGE_MAX), st.integers(0, 3))
def test_a_token_is_of_its_list_and_query_whatever_the_pages_size(
    asked: GetTimelineRequest, other: GetTimelineRequest, page_size: int, fresh: int
) -> None:
    token = Page(asked, BY_NUMBER).token_of((7, b"here"))
    other.page_size, other.page_token = page_size, token
    other.at_least_as_fresh.extend(Position(log="profile", number=number) for number in range(fresh))
    if query_of(asked) == query_of(other):
        assert Page(other, BY_NUMBER).after == (7, b"here")
    else:
        with pytest.raises(InvalidInput, match="another list or query") as refused:
            Page(other, BY_NUMBER)
        assert refused.value.reason == "PAGE_TOKEN_INVALID"
    with pytest.raises(InvalidInput, match="another list or query"):
        Page(ListMembersRequest(customer=asked.customer, purpose=asked.purpose, page_token=token), BY_NUMBER)


@given(ASKED, ASKED)
def test_two_requests_are_one_query_only_when_all_that_they_ask_is_the_same(
    asked: GetTimelineRequest, other: GetTimelineRequest
) -> None:
    assert (query_of(asked) == query_of(other)) == (asked == other)
