"""What another policy would have made of past reads: each is judged again, with what is supposed. Nothing is written."""

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from services.profile.all_reads import AllReads
from services.profile.domain.policy import Change, no_longer_shown, purpose_under
from services.profile.domain.read_summary import ReadSummary
from services.profile.judging_again import GIVEN, Judged, JudgingAgain, Then, judged
from services.profile.tables.consents import Consents
from services.profile.who_read import Place, Placed, Wanted
from shared.errors import InvalidInput, LimitExceeded
from shared.events.consent import PurposeDefined
from shared.pieces import Leisure
from shared.rpc.sending import Running

SIMULATIONS_AT_MOST: Final = 2  # each keeps a good part of the CPU busy
JUDGED_A_TURN: Final = 20
EXAMPLES: Final = 10
NOT_IN_PURPOSE: Final = "NOT_IN_PURPOSE"


class Differing(msgspec.Struct, frozen=True):
    """A read that would have been told otherwise: `fields` are those that wouldn't have been given out; all, where it isn't permitted."""

    read: Placed
    would: Judged
    fields: tuple[str, ...] = ()


class Simulated(msgspec.Struct):
    """What was found so far, of how many `reads`. `unreproduced` are reads that, by what is known now, would have been decided otherwise
    without any change: of them nothing is said; `unjudged` those whose refusal had nothing to do with a permission, or of nobody known."""

    changes: Sequence[Change]
    reads: int = 0
    unaffected: int = 0
    unjudged: int = 0
    unreproduced: int = 0
    unreproduced_examples: list[Place] = []
    unlawful: ReadSummary = msgspec.field(default_factory=ReadSummary)
    partly_unlawful: ReadSummary = msgspec.field(default_factory=ReadSummary)
    needlessly_refused: ReadSummary = msgspec.field(default_factory=ReadSummary)
    unmet: set[bytes] = set()  # decisions that are supposed to be withdrawn, and that no read was judged by

    def affects(self, read: Placed) -> bool:
        """Whether it is to be judged again: all are, where nothing is supposed to be changed."""
        self.reads += 1
        disclosure = read.disclosure
        affected = not self.changes or any(one.bears_on(disclosure.given.terms.purpose, disclosure.at) for one in self.changes)
        self.unaffected += not affected
        return affected

    def take(self, read: Placed, then: Then | None) -> Differing | None:
        """Of one that is affected."""
        if then is None:
            self.unjudged += 1
            return None
        self.unmet -= {decision.decision_id for decisions in then.decided.values() for decision in decisions}
        return self._compared(read, then)

    def _compared(self, read: Placed, then: Then) -> Differing | None:
        was, would = then.read.given.terms.outcome in GIVEN, judged(then, self.changes)
        if was == would.permitted:
            return self._partly(read, then) if was else None
        if not self.changes or judged(then).permitted != was:
            self.unreproduced += 1
            if len(self.unreproduced_examples) < EXAMPLES:
                self.unreproduced_examples.append(read.place)
            return None
        summary = self.unlawful if was else self.needlessly_refused
        summary.add(read.place, read.disclosure, would.reason if was else then.read.given.terms.reason)
        return Differing(read, would, then.read.given.terms.fields if was else ())

    def _partly(self, read: Placed, then: Then) -> Differing | None:
        """It would have been permitted, but not all that was shown."""
        supposed = purpose_under(self.changes, then.purpose, read.disclosure.at)
        fields = no_longer_shown(then.read.given.terms.fields, then.purpose, supposed) if supposed else ()
        if not fields:
            return None
        self.partly_unlawful.add(read.place, read.disclosure, NOT_IN_PURPOSE)
        return Differing(read, Judged(True, NOT_IN_PURPOSE), fields)


class Step(msgspec.Struct, frozen=True):
    """What differs of some reads, and how many events of how many were looked at by now; `found` goes on to change."""

    differing: Sequence[Differing]
    done: int
    total: int
    found: Simulated


class Policies:
    def __init__(self, reads: AllReads, judging: JudgingAgain, consents: Consents) -> None:
        self._reads = reads
        self._judging = judging
        self._consents = consents
        self._running = Running(_busy)

    async def version(self, purpose: str, version: int) -> PurposeDefined:
        """Raises InvalidInput (PURPOSE_UNKNOWN)."""
        if (found := await self._consents.purpose(purpose, version)) is None:
            raise InvalidInput("no such version of the purpose is known", reason="PURPOSE_UNKNOWN")
        return found

    def simulate(self, changes: Sequence[Change], wanted: Wanted, customers: Collection[bytes] = ()) -> AsyncGenerator[Step, None]:
        """Of all customers, where none are named. Raises LimitExceeded (SIMULATIONS_BUSY)."""
        return self._running.limited(self._simulate(changes, wanted, customers), SIMULATIONS_AT_MOST)

    async def _simulate(
        self, changes: Sequence[Change], wanted: Wanted, customers: Collection[bytes]
    ) -> AsyncGenerator[Step, None]:
        found = Simulated(changes, unmet={one.withdrawn for one in changes if one.withdrawn})
        leisure = Leisure(JUDGED_A_TURN)
        async with aclosing(self._reads.stretches(wanted, customers)) as stretches:
            async for stretch in stretches:
                affected, differing = [one for one in stretch.reads if found.affects(one)], list[Differing]()
                then = await self._judging.of([one.disclosure for one in affected])
                for read, known in zip(affected, then, strict=True):
                    if (one := found.take(read, known)) is not None:
                        differing.append(one)
                    await leisure.done(1)
                yield Step(differing, stretch.done, stretch.total, found)


def _busy(at_most: int) -> LimitExceeded:
    return LimitExceeded("other simulations are running; try again later", reason="SIMULATIONS_BUSY", limit=at_most)
