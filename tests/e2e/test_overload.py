"""Twice as much as the door takes: what it refuses comes again later, what it answered 200 is found."""

from services.stack.stack import Stack
from tests.e2e.overload import overload


def test_each_event_answered_200_at_twice_the_capacity_is_found_in_a_profile_once(own_stack: Stack) -> None:
    outcome = overload(own_stack, seconds=2)
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.accepted > 0
    assert outcome.refused > 0
    assert outcome.accepted + outcome.refused == outcome.offered
