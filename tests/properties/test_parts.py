"""Whatever a door finds too large, every event arrives once, in its order, in requests that it takes."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.cli.parts import COUNT, SIZE, Parts, TooLarge

Sizes = list[int]


class Door:
    """Takes so many events at a time, and so many bytes; it may tell how many, rightly or not."""

    def __init__(self, most: int, most_bytes: int, told: int) -> None:
        self.most, self.most_bytes, self.told = most, most_bytes, told
        self.taken: list[tuple[int, int]] = []
        self.refusals = 0

    def send(self, part: Sequence[tuple[int, int]]) -> list[int]:
        if len(part) > self.most or sum(size for _, size in part) > self.most_bytes:
            self.refusals += 1
            raise TooLarge(COUNT, "too many", self.told) if len(part) > self.most else TooLarge(SIZE, "too large")
        self.taken += part
        return [number for number, _ in part]


@given(
    batches=st.lists(st.lists(st.integers(1, 20), max_size=60), max_size=4),
    most=st.integers(1, 70),
    most_bytes=st.integers(10, 300),
    wrong=st.none() | st.integers(-1, 100),
)
def test_each_event_gets_its_verdict_once_and_in_order(batches: list[Sizes], most: int, most_bytes: int, wrong: int | None) -> None:
    door, parts = Door(most, most_bytes, most if wrong is None else wrong), Parts()
    refused: list[int] = []

    def refuse(event: tuple[int, int], why: TooLarge) -> list[int]:
        assert (why.reason, event[1] > most_bytes) == (SIZE, True)
        refused.append(event[0])
        return [event[0]]

    for sizes in batches:
        events = list(enumerate(sizes))
        door.taken.clear()
        refused.clear()
        answered = list(parts.send(events, door.send, refuse))
        assert [number for _, numbers in answered for number in numbers] == list(range(len(sizes)))
        assert [event for part, _ in answered for event in part] == events
        assert sorted([number for number, _ in door.taken] + refused) == list(range(len(sizes)))


def test_a_limit_that_was_told_is_not_run_into_again() -> None:
    door, parts = Door(most=7, most_bytes=10_000, told=7), Parts()
    for _ in range(3):
        list(parts.send([(number, 1) for number in range(100)], door.send, lambda event, why: []))
    assert door.refusals == 1
