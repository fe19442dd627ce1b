"""What was given out after the person had forbidden it, because that was not known yet: the reads between a denial and its enforcement."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

import msgspec

from services.profile.all_reads import AllReads
from services.profile.cache import LoadingCache
from services.profile.clusters import bonds_of, case_of, cluster_of, cores_of, joined
from services.profile.domain.decided import KnownDecision
from services.profile.domain.read_summary import ReadSummary
from services.profile.domain.state import Held
from services.profile.enforcement import depends_on_the_person
from services.profile.permission import Decisions
from services.profile.who_read import Place, Placed, Wanted, WhoRead
from shared.consent_overlays import GRANTED_BY_MINOR, MINOR, RESTRICTED
from shared.consent_rule import DENIALS, judge
from shared.errors import LimitExceeded
from shared.events.consent import PurposeDefined
from shared.pieces import Leisure
from shared.rpc.sending import Running

REPORTS_AT_MOST: Final = 2  # each keeps a good part of the CPU busy
READS_A_TURN: Final = 20
GIVEN = frozenset({"permit", "partial"})

Version = Callable[[str, int], Awaitable[PurposeDefined | None]]  # of a purpose, by its name


class Exposed(NamedTuple):
    """A read, and the denial that stood by then: when it was decided, and when consent took it down."""

    read: Placed
    denial: KnownDecision


class Source(NamedTuple):
    """Of whom, and of what they decided, as it is known now."""

    states: LoadingCache[bytes, Held]
    decisions: Decisions


class Step(msgspec.Struct, frozen=True):
    """What was exposed by some reads, and how many events of how many, and reads, were looked at by now; `summary` goes on to change."""

    exposed: Sequence[Exposed]
    done: int
    total: int
    reads: int
    summary: ReadSummary


class Exposures:
    """`everybody` is what many are looked up by: it leaves alone the caches that serve profiles.

    A read is judged by the version of its purpose that it was served under: what was redefined since made no read of before one.
    """

    def __init__(self, who_read: WhoRead, purpose: Version, one: Source, reads: AllReads, everybody: Source) -> None:
        self._who_read = who_read
        self._purpose = purpose
        self._states, self._decisions = one
        self._reads = reads
        self._everybody = everybody
        self._running = Running(_busy)

    async def page(self, customer: bytes, wanted: Wanted, before: Place | None, limit: int) -> tuple[list[Exposed], Place | None]:
        """Of so many reads those that were exposed, by all that is known now of who is one with her; there may be none, and more to come."""
        held = await joined([customer], self._states.get)
        found, rest = await self._who_read.of_customer(customer, wanted, before, limit)
        decisions = await self._decisions(list(bonds_of(held)))
        exposed = list[Exposed]()
        for one in found:
            if (denial := await self._denial(one, held, decisions)) is not None:
                exposed.append(Exposed(one, denial))
        return exposed, rest

    def report(self, wanted: Wanted) -> AsyncGenerator[Step, None]:
        """Of everybody. Raises LimitExceeded (REPORTS_BUSY), Unavailable (CONSENT_NOT_CONFIRMED)."""
        return self._running.limited(self._report(wanted), REPORTS_AT_MOST)

    async def _report(self, wanted: Wanted) -> AsyncGenerator[Step, None]:
        summary, reads, leisure = ReadSummary(), 0, Leisure(READS_A_TURN)
        async with aclosing(self._reads.stretches(wanted)) as stretches:
            async for stretch in stretches:
                given = [one for one in stretch.reads if one.disclosure.given.terms.outcome in GIVEN]
                held = await joined(
                    {member for one in given for member in one.disclosure.given.members}, self._everybody.states.get
                )
                decisions = await self._everybody.decisions(list(bonds_of(held)))
                exposed = list[Exposed]()
                for one in given:
                    exposed += await self._exposed(one, held, decisions)
                    await leisure.done(1)
                for found in exposed:
                    summary.add(found.read.place, found.read.disclosure, found.denial.outcome)
                reads += len(stretch.reads)
                yield Step(exposed, stretch.done, stretch.total, reads, summary)

    async def _exposed(self, read: Placed, held: dict[bytes, Held], decisions: dict[bytes, list[KnownDecision]]) -> list[Exposed]:
        """By each of those who were one then, as they are now; they may be two."""
        denials, looked_at = dict[bytes, KnownDecision](), set[bytes]()
        for member in read.disclosure.given.members:
            if member not in looked_at:
                cluster = cluster_of(member, held)
                looked_at |= cluster.keys()
                if (denial := await self._denial(read, cluster, decisions)) is not None:
                    denials[denial.decision_id] = denial
        return [Exposed(read, denial) for denial in denials.values()]

    async def _denial(
        self, read: Placed, held: dict[bytes, Held], decisions: Mapping[bytes, Sequence[KnownDecision]]
    ) -> KnownDecision | None:
        """What would have forbidden the read, had all been known that was decided by then."""
        terms, at = read.disclosure.given.terms, read.disclosure.at
        members = [member for member in read.disclosure.given.members if member in held]
        if terms.outcome not in GIVEN or not members:
            return None
        purpose = await self._purpose(terms.purpose, terms.purpose_version)
        if purpose is None or not depends_on_the_person(purpose):
            return None
        bonds = bonds_of(held)
        by_then = {bound: [one for one in decisions.get(bound, ()) if one.valid_from <= at] for bound in bonds}
        verdict = judge(case_of(purpose, bonds, by_then, at), cores_of(held)[members[0]])
        if verdict.permitted or verdict.reason not in {*DENIALS.values(), RESTRICTED, MINOR, GRANTED_BY_MINOR}:
            return None
        return _named(verdict.decision_id, by_then.values())


def _named(decision_id: bytes, decisions: Iterable[Iterable[KnownDecision]]) -> KnownDecision | None:
    return next((one for made in decisions for one in made if one.decision_id == decision_id), None)


def _busy(at_most: int) -> LimitExceeded:
    return LimitExceeded("other reports are being made; try again later", reason="REPORTS_BUSY", limit=at_most)
