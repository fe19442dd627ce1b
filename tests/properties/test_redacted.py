"""Law of what is computed: where events are redacted by an erasure it isn't told, and said to be withheld, on whatever path it is asked for."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.app import NOW, Instant
from services.profile.belonging import Belongings
from services.profile.enforcement import REDACTED, release
from services.profile.explaining import Explaining
from shared.errors import CustomerError, WrongState
from shared.instants import SECOND
from tests.properties.past_store import AUDIT, PARTITIONS
from tests.properties.pasts import CUSTOMERS
from tests.properties.test_profile_changes import Story, instants, stories


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


async def test_also_of_who_is_left_and_was_one_with_whom_was_erased_then() -> None:
    merged: list[Any] = [("order", 0, SECOND, 5), ("order", 1, 2 * SECOND, 7), ("merge", 0, 1, 3 * SECOND)]
    story = Story([(False, deed) for deed in [*merged, ("split", 0, 5 * SECOND), ("erase", 0, 6 * SECOND)]], 0)
    past, together, left = story.past, Instant(known_at=SECOND * 7 // 2), CUSTOMERS[1]
    explaining = Explaining(past.profiles, past.chooser, cast(Any, past.log), cast(Any, past.keys), PARTITIONS)
    assert (await past.profiles.profile(left, AUDIT, NOW, 2)).record.traits["spent"].value == 7
    assert (await past.profiles.profile(left, AUDIT, together, 2)).redacted
    for customer in CUSTOMERS[:2]:
        with pytest.raises(WrongState) as refused:
            await explaining.trait(customer, "spent", AUDIT, together, 2)
        assert refused.value.reason == REDACTED
