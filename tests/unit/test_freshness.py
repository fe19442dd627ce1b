"""Who asks for what isn't applied yet waits as long as their deadline lets them, and hears how long that was."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors import NotFreshEnough
from shared.positions import LONGEST_WAIT_S, Progress
from shared.rpc.server import DEFAULT_DEADLINE_S, seconds_left


class Hours:
    """A loop's clock that can be put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop, self._ahead_s = asyncio.get_running_loop(), 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead_s)

    async def pass_s(self, seconds: float) -> None:
        await asyncio.sleep(0)  # who has just begun waits from now on
        self._ahead_s += seconds
        for _ in range(5):
            await asyncio.sleep(0)  # what is due is done


def left(deadline_s: float | None) -> float:
    context: Any = SimpleNamespace(time_remaining=lambda: deadline_s)
    return seconds_left(context)


async def test_a_call_waits_as_long_as_its_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, hours = Progress(), Hours(monkeypatch)
    reading = asyncio.create_task(progress.wait("ingest", 7, left(300)))
    await hours.pass_s(290)
    assert not reading.done()
    progress.advance("ingest", 7)
    await reading


async def test_at_its_end_it_is_told_how_long_that_was(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, hours = Progress(), Hours(monkeypatch)
    progress.advance("ingest", 3)
    reading = asyncio.create_task(progress.wait("ingest", 7, left(300)))
    await hours.pass_s(296)
    with pytest.raises(NotFreshEnough, match=r"ingest position 7 is not applied yet after 295 s$") as refused:
        await reading
    assert refused.value.facts == {"log": "ingest", "applied": "3", "waited_s": "295", "longest_wait_s": "600"}


async def test_whatever_the_deadline_nobody_waits_for_longer_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, hours = Progress(), Hours(monkeypatch)
    reading = asyncio.create_task(progress.wait("ingest", 7, left(86_400)))
    await hours.pass_s(LONGEST_WAIT_S - 1)
    assert not reading.done()
    await hours.pass_s(2)
    with pytest.raises(NotFreshEnough, match=r"the longest that a call waits \(600 s\)"):
        await reading


def test_something_of_a_deadline_is_left_for_the_answer() -> None:
    assert (left(1), left(50), left(100), left(0), left(-1)) == (0.9, 45, 95, 0, 0)
    assert left(None) == 0.9 * DEFAULT_DEADLINE_S


async def test_of_many_who_give_up_none_is_remembered_and_others_go_on_waiting() -> None:
    progress = Progress()
    many = [asyncio.create_task(progress.wait("ingest", number, 300)) for number in range(1_000)]
    await asyncio.sleep(0)
    for one in many[::2]:
        one.cancel()
    await asyncio.gather(*many[::2], return_exceptions=True)
    assert len(progress._waiters["ingest"]) <= 2 * len(many[1::2])
    progress.advance("ingest", 499)
    await asyncio.gather(*many[1:500:2])
    assert not any(one.done() for one in many[501::2])
    for one in many[501::2]:
        one.cancel()
    await asyncio.gather(*many[501::2], return_exceptions=True)
    assert not progress._waiters


async def test_who_is_called_off_in_the_very_turn_in_which_it_would_be_answered_is_forgotten() -> None:
    progress = Progress()
    first, second = (asyncio.create_task(progress.wait("ingest", 7, 300)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    progress.advance("ingest", 7)
    await second
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.gather(asyncio.create_task(progress.wait("ingest", 8, 0)), return_exceptions=True)
    assert not progress._waiters
