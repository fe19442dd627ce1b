"""How many are looked at in a step: what doesn't fit is tried with fewer, what fits easily with more."""

import asyncio

import pytest

from services.profile.portions import Portion, TooMany
from shared.pieces import AT_ONCE


def step(portion: Portion, looks_of_each: int) -> int:
    """How many looks it made."""
    looks = portion.looks()

    async def look() -> None:
        for _ in range(portion.size * looks_of_each):
            await looks.done(AT_ONCE)

    try:
        asyncio.run(look())
    except TooMany:
        portion.did_not_fit()
    else:
        portion.fitted(looks)
    return looks.made


@pytest.mark.parametrize("looks_of_each", [0, 1, 3, 40, 99])
def test_no_step_makes_many_more_looks_than_are_meant_for_it_and_in_the_end_portions_fit(looks_of_each: int) -> None:
    portion = Portion(64, looks_a_step=100)
    assert all(step(portion, looks_of_each) <= 101 for _ in range(20))
    assert portion.size * looks_of_each <= 100


def test_a_single_one_is_looked_at_however_long_it_takes() -> None:
    portion = Portion(64, looks_a_step=100)
    for _ in range(10):
        made = step(portion, 250)
    assert made == 250


def test_behind_a_burst_portions_are_large_again() -> None:
    portion = Portion(64, looks_a_step=100)
    for _ in range(10):
        step(portion, 90)
    assert portion.size == 1
    for _ in range(10):
        step(portion, 0)
    assert portion.size == 64
