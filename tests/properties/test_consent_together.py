"""Checks that are looked up together are told what each alone would be told, and nothing that was read before they asked."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent import together
from services.consent.checking import Checked, Named
from services.consent.together import Together
from shared.errors import CustomerError, InvalidInput, NotFound

PURPOSES = ("marketing", "advertising", "unknown")
Asked = tuple[str, bytes]


class Looked:
    """Looks up as the tables would: what it reads is of the instant at which it begins, and it takes a while."""

    def __init__(self) -> None:
        self.instant = 0
        self.under_way = dict.fromkeys(PURPOSES, 0)

    async def check_each(self, purpose: str, named: Sequence[Named]) -> list[Checked | CustomerError]:
        assert 0 < len(named) <= together.MOST_AT_ONCE
        assert not self.under_way[purpose], "one look-up of a purpose at a time"
        self.under_way[purpose] += 1
        read_at = self.instant
        await asyncio.sleep(0)
        self.under_way[purpose] -= 1
        if purpose == "unknown":
            raise InvalidInput("no such purpose", reason="PURPOSE_UNKNOWN")
        return [_verdict(purpose, cast("bytes", one), read_at) for one in named]


def _verdict(purpose: str, customer: bytes, read_at: int) -> Any:
    return NotFound("nobody", reason="CUSTOMER_UNKNOWN") if customer == b"nobody" else (purpose, customer, read_at)


@given(
    asked=st.lists(st.tuples(st.sampled_from(PURPOSES), st.sampled_from([b"anna", b"ben", b"nobody"]), st.booleans()), max_size=30),
    gone=st.sets(st.integers(0, 29)),
)
def test_each_is_told_what_it_would_be_told_alone(asked: list[tuple[str, bytes, bool]], gone: set[int]) -> None:
    asyncio.run(_each_is_told(asked, gone))


async def _each_is_told(asked: list[tuple[str, bytes, bool]], gone: set[int]) -> None:
    looked = Looked()
    checks = Together(looked.check_each)
    calls: list[tuple[Asked, int, asyncio.Task[Any]]] = []
    for purpose, customer, pauses in asked:
        looked.instant += 1
        calls.append(((purpose, customer), looked.instant, asyncio.create_task(checks.check(purpose, customer))))
        if pauses:
            await asyncio.sleep(0)
    for number in gone & set(range(len(calls))):
        calls[number][2].cancel()
    told = await asyncio.gather(*(task for _, _, task in calls), return_exceptions=True)
    for number, ((one, asked_at, _), answer) in enumerate(zip(calls, told, strict=True)):
        if number not in gone:
            _is_right(one, asked_at, answer)
    assert not checks._waiting


def _is_right(asked: Asked, asked_at: int, answer: Any) -> None:
    purpose, customer = asked
    if purpose == "unknown":
        assert isinstance(answer, InvalidInput)
    elif customer == b"nobody":
        assert isinstance(answer, NotFound)
    else:
        assert answer[:2] == asked
        assert answer[2] >= asked_at


def test_no_look_up_is_of_more_than_may_be_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MOST_AT_ONCE", 2)
    asyncio.run(_each_is_told([("marketing", b"anna", False)] * 7, set()))
