"""What counts at both of two points is folded once, and both answers are as if each had been asked for alone."""

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.app import Instant
from services.profile.differences import Compared
from services.profile.tables import folding, further
from shared.errors import CustomerError
from tests.properties.past_store import AUDIT, Past
from tests.properties.pasts import CUSTOMERS, instants, or_end, pasts
from tests.properties.test_profile_time import told

BY = (-1, 0, 1, 500)  # events of a stream at most; with the first each answer is made alone


async def compared(past: Past, customer: bytes, old: Instant, new: Instant, by: int) -> Compared | str:
    with patch.object(further, "FURTHER_BY", by):
        try:
            return await past.differences.between(customer, AUDIT, old, new)
        except CustomerError as refused:
            return refused.reason


@given(pasts, st.integers(1, 5), instants, instants)
async def test_that_much_is_known_already_changes_nothing(steps: list[Any], snapshot_every: int, old: Any, new: Any) -> None:
    past, teller = await told(steps, snapshot_every)
    points = [Instant(or_end(valid_at), or_end(percent and teller.known_at(percent))) for valid_at, percent in (old, new)]
    for customer in CUSTOMERS:
        for before, after in (points, points[::-1]):
            alone, *shared = [await compared(past, customer, before, after, by) for by in BY]
            for one in shared:
                if isinstance(alone, str) or isinstance(one, str):
                    assert one == alone
                    continue
                assert one.difference == alone.difference
                assert (one.old.profile, one.new.profile) == (alone.old.profile, alone.new.profile)
                assert one.unnamed == alone.unnamed


@pytest.mark.parametrize("back", [False, True], ids=["forwards", "back"])
async def test_what_counts_at_both_is_not_folded_twice(back: bool) -> None:
    at_both, old, new = 20, Instant(20), Instant(26)
    steps: list[Any] = [(0, ("identify", at % 3, at, "app", {"city": "Kiel"})) for at in range(1, 30)]
    past, _ = await told([*steps, (0, ("merge", 0, 1, 5)), (0, ("merge", 1, 2, 6))], 100)
    folded = []
    for by in (-1, 500):
        with patch.object(folding, "_step", side_effect=folding._step) as step:
            found = await compared(past, CUSTOMERS[0], *((new, old) if back else (old, new)), by)
        folded.append(step.call_count)
        assert isinstance(found, Compared)
        assert found.difference.traits
    assert folded[0] - folded[1] >= at_both
