"""An answer that is overtaken while it is made: it is made anew, not for ever, and says no more of itself than it can stand by. Of many each is
one of its own."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest

from services.profile.disclosed import Disclosed, Shown
from services.profile.disclosing import Call, Disclosing
from services.profile.domain.disclosure import Disclosure
from services.profile.reading import judged_by, looked_up, noted, relied_on, stood
from services.profile.ready import ReadyAnswers
from services.profile.steady import TRIES, Steady
from shared.consent_rule import Verdict
from shared.errors import NotPermitted
from shared.events.consent import PurposeDefined

PURPOSE = PurposeDefined(request_id="1", name="news", version=1, description="", legal_basis="consent", traits=("*",))
HERS, ANOTHERS = b"hers", b"another's"


class Overtaken:
    """Decisions about somebody, of which so many more come while she is read: one with each try."""

    def __init__(self, coming: int, whose: bytes = HERS) -> None:
        self.coming, self.whose, self.known, self.tries = coming, whose, 0, 0
        self.withdrawn = False
        self.written: list[Disclosure] = []
        self.ready = ReadyAnswers(lambda _: True, lambda: 0)
        disclosing = Disclosing(self._write, lambda: 0)
        self.disclosed = Disclosed(disclosing, self._permit, lambda: self.ready.changes, self.ready.overtook, lambda: self.known, 1)

    async def _write(self, found: Collection[Disclosure], *_: Any) -> None:
        self.written += found

    async def _permit(self, *_: Any) -> None:
        if self.withdrawn:
            raise NotPermitted("it was withdrawn", reason="CONSENT_WITHDRAWN")

    async def make(self) -> int:
        looked_up([HERS])
        self.tries, made_from = self.tries + 1, self.known
        if self.coming:
            self.coming, self.known = self.coming - 1, self.known + 1
            self.ready.drop([self.whose])
        return made_from

    async def read(self) -> int:
        call = Call("GetProfile", "test", "")
        async with self.disclosed.read(call) as reading:
            reading.asks(PURPOSE, b"c" * 16)
            made_from = await self.disclosed.steady(self.make)
            await self.disclosed.give(call, reading, Shown(members=[b"c" * 16], fields=["city"]))
        return made_from


@pytest.mark.parametrize("times", range(TRIES + 3))
async def test_what_is_known_to_an_answer_is_what_it_was_made_from(times: int) -> None:
    overtaken = Overtaken(times)
    made_from = await overtaken.read()
    assert overtaken.tries == min(times + 1, TRIES)
    assert [one.given.consent_known for one in overtaken.written] == [made_from]


async def test_what_others_do_overtakes_nothing() -> None:
    overtaken = Overtaken(TRIES, ANOTHERS)
    assert await overtaken.read() == 0
    assert overtaken.tries == 1


async def test_what_was_overtaken_each_time_is_asked_once_more_whether_it_is_permitted() -> None:
    overtaken = Overtaken(TRIES)
    overtaken.withdrawn = True
    with pytest.raises(NotPermitted):
        await overtaken.read()
    said = [(one.given.terms.outcome, one.given.consent_known) for one in overtaken.written]
    assert said == [("permit", TRIES - 1), ("deny", TRIES)]


async def test_what_was_made_before_and_not_taken_is_not_what_an_answer_is_made_from() -> None:
    overtaken, of_first = Overtaken(1), b"of the first try"

    async def make() -> None:
        if not overtaken.tries:
            looked_up([of_first])
        await overtaken.make()

    with noted() as reading:
        await overtaken.disclosed.steady(make)
    assert reading.keys == {HERS}


class Many:
    """Some who are judged together, while as many decisions as `coming` come about one of them: one with each try."""

    def __init__(self, coming: int, one: bytes) -> None:
        self.coming, self.one, self.known = coming, one, 0
        self.ready = ReadyAnswers(lambda _: True, lambda: 0)
        self.steady = Steady(lambda: self.ready.changes, self.ready.overtook, lambda: self.known)
        self.asked = Counter[bytes]()

    async def judge(self, customers: Collection[bytes]) -> dict[bytes, int]:
        """By what each is."""
        self.asked.update(customers)
        found = dict.fromkeys(customers, self.known)
        for one in customers:
            looked_up([one])
            judged_by(one, [one])
            stood({one: self.known})
            relied_on([one], Verdict(True, "CONSENT_GRANTED", str(self.known).encode()))
        if self.coming and self.one in customers:
            self.coming, self.known = self.coming - 1, self.known + 1
            self.ready.drop([self.one])
        return found


@pytest.mark.parametrize("times", range(TRIES + 3))
async def test_of_many_those_alone_are_judged_anew_who_were_overtaken(times: int) -> None:
    many, others = Many(times, HERS), [ANOTHERS, b"a third's"]
    with noted() as reading:
        judged = await many.steady.each([HERS, *others], many.judge)
    assert [many.asked[one] for one in others] == [1, 1]
    assert many.asked[HERS] == min(times + 1, TRIES)
    assert judged[HERS] == min(times, TRIES - 1)
    for one in (HERS, *others):
        made_from = judged[one]
        moment = reading.moment_of([one])
        assert moment.newest == {one: made_from}, "each by itself"
        assert reading.evidence[one] == {str(made_from).encode()}, "what it was judged by before is forgotten"
        assert moment.consent_known == (made_from if one == HERS else min(times, 1))
