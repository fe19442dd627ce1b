"""Where pages of histories ended: what is known there holds until something comes, and nothing is kept of whom something came to."""

from services.profile.course import Pause, Step, Walk
from services.profile.domain.clocks import NOW
from services.profile.domain.rules_document import SHIPPED_RULES
from services.profile.pauses import WALKS_KEPT, Pauses

ANN, BOB = b"a" * 16, b"b" * 16


def walk(customer: bytes = ANN) -> Walk:
    return Walk(customer, "known", NOW, SHIPPED_RULES, erased=False)


def test_what_is_known_at_an_instant_is_known_until_the_next_one_at_which_anything_came() -> None:
    pause = Pause(10, {}, [Step(5), Step(20)], complete=False, done=1)
    assert [instant for instant in (9, 10, 19, 20) if pause.holds_at(instant)] == [10, 19]


def test_behind_the_last_that_was_read_nothing_is_known_unless_that_is_all() -> None:
    read = [Step(5)]
    assert [at for at in (9, 10, 11) if Pause(10, {}, read, complete=False, done=1).holds_at(at)] == [10]
    assert [at for at in (9, 10, 11) if Pause(10, {}, read, complete=True, done=1).holds_at(at)] == [10, 11]


def test_a_walk_is_forgotten_with_the_first_that_comes_to_any_of_its_streams() -> None:
    pauses = Pauses(lambda _: None)
    for customer in (ANN, BOB):
        pauses.begin(walk(customer), {customer: 1, b"c" * 16: 1})
    pauses.changed([ANN])
    assert (pauses.find(walk(ANN)), pauses.find(walk(BOB)) is not None) == (None, True)
    pauses.changed(None)
    assert pauses.find(walk(BOB)) is None


def test_of_more_walks_than_are_kept_the_one_that_was_begun_first_goes() -> None:
    pauses = Pauses(lambda _: None)
    customers = [bytes([number]) * 16 for number in range(WALKS_KEPT + 1)]
    for customer in customers:
        pauses.begin(walk(customer), {customer: 1})
    assert [pauses.find(walk(customer)) is None for customer in customers] == [True] + [False] * WALKS_KEPT
