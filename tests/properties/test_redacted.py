"""Law of what is computed: where events are redacted by an erasure it isn't told, and said to be withheld, on whatever path it is asked for."""

from typing import Any, cast

import pytest
from c360.profile.v1.history_pb2 import ListProfileChangesRequest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.api.change_messages import diff_message
from services.profile.api.history import _message
from services.profile.app import NOW, Instant
from services.profile.belonging import Belongings
from services.profile.domain.clocks import Order
from services.profile.domain.diff import TraitChange, Wanted
from services.profile.enforcement import REDACTED, release
from services.profile.explaining import Explaining
from shared.errors import CustomerError, WrongState
from shared.instants import SECOND
from shared.rpc.paging import BY_NUMBER, PAGE_MAX, Page
from tests.properties.past_store import AUDIT, PARTITIONS
from tests.properties.pasts import CUSTOMERS
from tests.properties.test_profile_changes import Story, instants, stories
from tests.properties.test_profile_time import orders

COMPUTED = {"orders", "spent", "since"}
WHOLE = Page(ListProfileChangesRequest(page_size=PAGE_MAX), BY_NUMBER)
SEGMENTS = {"segment:frequent", "segment:silent", "segment:kielers", "segment:reached"}


@given(stories, st.integers(0, 2), st.booleans(), instants)
async def test_where_events_are_redacted_nothing_that_was_computed_is_told(
    steps: list[tuple[bool, Any]], who: int, erased: bool, at: Instant
) -> None:
    ordered: list[tuple[bool, Any]] = [(False, ("order", who, SECOND, 5))]
    story = Story([*ordered, *steps, *([(False, ("erase", who, 31 * SECOND))] if erased else [])], 0)
    for customer in CUSTOMERS[:3]:
        try:
            profile = await story.past.profiles.profile(customer, AUDIT, at)
        except CustomerError:
            continue
        rules, released = profile.rules, release(profile.record, AUDIT)
        computed = set(rules.computed.all) if rules.computed else set[str]()
        segments = set(rules.segments.conditions) if rules.segments else set[str]()
        gone = {one.field for one in released.withheld if one.reason == REDACTED} & computed
        belonging = await Belongings(story.past.profiles, lambda: 40 * SECOND).of(customer, AUDIT, at)
        assert gone == (computed if profile.redacted else set())
        assert set(belonging.redacted) == (segments if profile.redacted else set())
        if profile.redacted:
            assert not computed & released.traits.keys()
            assert belonging.segments == belonging.cut == []


@given(stories, st.integers(0, 2), orders, instants, instants)
async def test_nor_is_it_told_how_it_changed(steps: list[Any], who: int, order: Order, old: Instant, new: Instant) -> None:
    """Of one who was erased, at whatever instants; and all of it is said to be withheld."""
    story = Story([(False, ("order", who, SECOND, 5)), *steps, (False, ("erase", who, 31 * SECOND))], 0)
    walked = await story.past.walks.page(CUSTOMERS[who], AUDIT, order, Instant(known_at=40 * SECOND), None, 1_000)
    listed = _message(walked, AUDIT, set[str](), WHOLE)
    assert not COMPUTED & {one.trait.name for one in listed.changes if one.HasField("trait")}
    assert not any(one.HasField("segment") for one in listed.changes)
    assert {one.field for one in listed.withheld if one.reason == REDACTED} >= COMPUTED | SEGMENTS
    some = Wanted(frozenset({"orders", "city"}))
    walked = await story.past.walks.page(CUSTOMERS[who], AUDIT, order, Instant(known_at=40 * SECOND), None, 1_000, wanted=some)
    assert {one.field for one in _message(walked, AUDIT, some.traits, WHOLE).withheld} == {"orders"}
    try:
        compared = await story.past.differences.between(CUSTOMERS[who], AUDIT, old, new, 2)
    except CustomerError:
        return
    told = diff_message(compared, AUDIT, Wanted())
    assert not told.segments
    assert not COMPUTED & {one.name for one in told.traits}
    assert {one.field for one in told.withheld if one.reason == REDACTED} >= COMPUTED | SEGMENTS


async def test_that_it_is_not_told_is_no_change(story: Story) -> None:
    """Of who is left and was one with whom was erased then: what she had before and has afterwards is told, and what was between isn't."""
    told = (await story.past.walks.page(CUSTOMERS[1], AUDIT, "known", Instant(known_at=40 * SECOND), None, 1_000)).told
    spent = [one.change for one in told if isinstance(one.change, TraitChange) and one.change.name == "spent"]
    values = [(one.old and one.old.value, one.new and one.new.value, one.redacted) for one in spent]
    assert values[-2:] == [(7, None, True), (None, 7, True)]
    assert not any(redacted for _, _, redacted in values[:-2])


@pytest.fixture
def story() -> Story:
    merged: list[Any] = [("order", 0, SECOND, 5), ("order", 1, 2 * SECOND, 7), ("merge", 0, 1, 3 * SECOND)]
    return Story([(False, deed) for deed in [*merged, ("split", 0, 5 * SECOND), ("erase", 0, 6 * SECOND)]], 0)


async def test_also_of_who_is_left_and_was_one_with_whom_was_erased_then(story: Story) -> None:
    past, together, left = story.past, Instant(known_at=SECOND * 7 // 2), CUSTOMERS[1]
    explaining = Explaining(past.profiles, past.chooser, cast(Any, past.log), cast(Any, past.keys), PARTITIONS)
    assert (await past.profiles.profile(left, AUDIT, NOW, 2)).record.traits["spent"].value == 7
    assert (await past.profiles.profile(left, AUDIT, together, 2)).redacted
    for customer in CUSTOMERS[:2]:
        for trait in ("spent", "city"):  # nobody knows any more whether she said anything of her city
            with pytest.raises(WrongState) as refused:
                await explaining.trait(customer, trait, AUDIT, together, 2)
            assert refused.value.reason == REDACTED
