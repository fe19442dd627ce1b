"""What a plan would do to events that wait, and doing it: those that it takes go on at their own place and time."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.ingest.domain.breaches import Breach, breaches_of
from services.ingest.domain.call import Call, Delivery
from services.ingest.domain.events import Rejection, encode, judge
from services.ingest.domain.plan import Judge, Outcome, compile_plan
from services.ingest.domain.plan_document import Action
from services.ingest.domain.settings import MOST_EVENT_BYTES, KnownSource
from services.ingest.domain.sources import unknown_source
from services.ingest.judging import judge_by_plan
from services.ingest.memory import Memory, Taken
from services.ingest.quarantine import PAGE_EVENTS, Quarantine, QuarantinedRow
from services.ingest.views import Sources
from shared.telemetry import EVENTS_REPLAYED

MAX_REPLAYED_BYTES: Final = 2 * MOST_EVENT_BYTES  # it was taken once; what was sent is now kept beside its standard form
YIELD_EVENTS: Final = 50  # checked at a time; then those who send events have their turn
MAX_EXAMINED: Final = 10_000  # of the quarantine, when a plan is checked


STATUSES: Final[Mapping[Action, str]] = {
    "allow": "accepted",
    "flag": "flagged",
    "quarantine": "quarantined",
    "block": "rejected",
}


class Tally(msgspec.Struct):
    """How many events would be, or were, dealt with how; and which rules those that are held break."""

    accepted: int = 0
    flagged: int = 0
    quarantined: int = 0
    rejected: int = 0
    lost: int = 0  # their key is gone
    rules: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        word = STATUSES[outcome.action]
        setattr(self, word, getattr(self, word) + 1)
        self.rules.update({found.rule for found in outcome.findings})


class Checked(msgspec.Struct, frozen=True):
    """What a plan would do to one event. `reason` says why it is rejected whatever the plan is."""

    message_id: str
    status: str
    reason: str = ""
    breaches: list[Breach] = []


class Replaying:
    def __init__(self, sources: Sources, quarantine: Quarantine, memory: Memory) -> None:
        self._sources = sources
        self._quarantine = quarantine
        self._memory = memory
        self._turns = asyncio.Lock()

    async def replay(self, source: str) -> tuple[Tally, int | None]:
        """Under the newest plan. What it takes is published and then removed; a crash in between doubles nothing, because
        identity knows the event's id. Also where the last of them stands. Raises NotFound (SOURCE_UNKNOWN), Unavailable.
        """
        async with self._turns:
            await self._sources.load()
            plan = self._known(source).plan
            tally, number, after = Tally(), None, None
            while rows := await self._quarantine.page(source, after, PAGE_EVENTS):
                number = await self._replay_page(rows, plan, tally) or number
                after = rows[-1].received_at, rows[-1].event_id
            EVENTS_REPLAYED.labels("ingest").inc(tally.accepted + tally.flagged)
            return tally, number

    async def check(
        self, source: str, document: str, calls: Sequence[Call | Rejection], received_at: int
    ) -> tuple[Tally, Tally, list[Checked]]:
        """What the plan would do to what is in the quarantine, to these calls, and to each of them. Nothing is written.
        Without a source: to what a new one sends.

        Raises NotFound (SOURCE_UNKNOWN), InvalidInput (PLAN_INVALID).
        """
        known = self._known(source) if source else KnownSource(name="")
        plan = await asyncio.to_thread(compile_plan, document, 0, known.settings.region)
        waiting = await self._check_quarantine(source, plan) if source else Tally()
        return waiting, *await _check_calls(calls, plan, known, received_at)

    async def _replay_page(self, rows: Sequence[QuarantinedRow], plan: Judge | None, tally: Tally) -> int | None:
        events = await self._quarantine.open(rows)
        tally.lost += len(rows) - len(events)
        outcomes = {event_id: judge_by_plan(plan, event) for event_id, event in events.items()}
        free = [event_id for event_id, outcome in outcomes.items() if outcome.action in ("allow", "flag")]
        held = {event_id: outcome for event_id, outcome in outcomes.items() if outcome.action not in ("allow", "flag")}
        # In the order in which they came, as `rows` is.
        wanted = set(free)
        encoded = {row.event_id: encode(outcomes[row.event_id].event, MAX_REPLAYED_BYTES) for row in rows if row.event_id in wanted}
        taken = await self._memory.submit(encoded) if encoded else Taken()
        gone = {*taken.duplicates, *(await self._memory.taken_before(held) if held else ())}  # sent again meanwhile, and taken
        await self._quarantine.remove(wanted | gone)
        held = {event_id: outcome for event_id, outcome in held.items() if event_id not in gone}
        if held and plan is not None:
            await self._quarantine.rejudged(held, plan.version)
        for event_id in outcomes.keys() - gone:
            tally.add(outcomes[event_id])
        return taken.number

    async def _check_quarantine(self, source: str, plan: Judge) -> Tally:
        tally, after, examined = Tally(), None, 0
        while examined < MAX_EXAMINED and (rows := await self._quarantine.page(source, after, PAGE_EVENTS)):
            events = await self._quarantine.open(rows)
            tally.lost += len(rows) - len(events)
            for event in events.values():
                tally.add(judge_by_plan(plan, event))
            after = rows[-1].received_at, rows[-1].event_id
            examined += len(rows)
        return tally

    def _known(self, source: str) -> KnownSource:
        if (known := self._sources.of_name(source)) is None:
            raise unknown_source(source)
        return known


async def _check_calls(
    calls: Iterable[Call | Rejection], plan: Judge, source: KnownSource, received_at: int
) -> tuple[Tally, list[Checked]]:
    tally, checked = Tally(), []
    delivery = Delivery(source=source, received_at=received_at)
    for number, call in enumerate(calls):
        if number % YIELD_EVENTS == 0:
            await asyncio.sleep(0)
        event: Any = judge(call, delivery, lambda: "") if isinstance(call, Call) else call
        if isinstance(event, Rejection):
            tally.rejected += 1
            tally.rules[event.reason] += 1
            checked.append(Checked(event.message_id, "rejected", event.reason))
        else:
            outcome = judge_by_plan(plan, event)
            tally.add(outcome)
            checked.append(Checked(event.message_id, STATUSES[outcome.action], "", breaches_of(plan, event, outcome.findings)))
    return tally, checked
