"""What ingest does with events: judges each, and makes those that it takes durable."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from services.ingest.domain.call import Call, Delivery
from services.ingest.domain.events import Rejection, encode, judge
from services.ingest.domain.limiter import Limiter
from services.ingest.domain.plan import FLAG_PREFIX, Finding, Outcome
from services.ingest.domain.settings import KnownSource
from services.ingest.domain.sources import write_key_hash
from services.ingest.judging import judge_by_plan
from services.ingest.memory import Memory, Taken
from services.ingest.quarantine import Quarantine, Quarantined
from services.ingest.verdicts import PROCESSING_REFUSED, REJECTED
from services.ingest.views import STORE_PATIENCE_S, Sources
from services.ingest.violations import Violations
from shared.errors import InvalidInput, NotAuthenticated
from shared.events.wire import RawEvent, event_id_of
from shared.ids import NewId, to_text
from shared.instants import Clock
from shared.telemetry import ACK_SECONDS, EVENTS_ACCEPTED, EVENTS_DUPLICATE, EVENTS_QUARANTINED, EVENTS_REJECTED
from shared.waiting import Patience

MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024  # of encoded events; a shared context is encoded with each


Status = Literal["accepted", "duplicate", "rejected", "quarantined"]  # all but "rejected" are a success


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """`reason` and `message` say why an event was not simply accepted."""

    message_id: str
    status: Status
    reason: str = ""
    message: str = ""


class Recorded(msgspec.Struct, frozen=True):
    """One verdict an event, in order; `number` is where the newest of those stands that are taken, None when there are none."""

    verdicts: list[Verdict]
    number: int | None


class Broken(msgspec.Struct, frozen=True):
    plan_version: int
    findings: tuple[Finding, ...]
    received_at: int


class Judged(msgspec.Struct, frozen=True, gc=False):
    """A verdict, and the encoded event unless it was rejected. `held` is set when that goes into the quarantine.

    `broken` is what of its plan the event breaks, to be counted when it turns out to be new.
    """

    verdict: Verdict
    encoded: bytes = b""
    held: Quarantined | None = None
    broken: Broken | None = None
    refused_bytes: int = 0  # that were encoded for nothing

    def __repr__(self) -> str:
        return f"<Judged {self.verdict.status}>"


Remember = Callable[[bytes, str, str], None]  # keeps a verdict (event id, status, reason) for receipts


class Ingest:
    """`monotonic` tells seconds."""

    def __init__(
        self,
        sources: Sources,
        memory: Memory,
        quarantine: Quarantine,
        violations: Violations,
        remember: Remember,
        clock: Clock,
        monotonic: Callable[[], float],
        new_id: NewId,
    ) -> None:
        self._sources = sources
        self._memory = memory
        self._remember = remember
        self._quarantine = quarantine
        self._violations = violations
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id
        self._patience = Patience(STORE_PATIENCE_S)
        self._limiter = Limiter()
        self._last_received_at = 0

    def now(self) -> int:
        return self._clock()

    def new_request_id(self) -> str:
        return to_text(self._new_id())

    async def authenticate(self, write_key: str) -> KnownSource:
        """Raises NotAuthenticated (WRITE_KEY_MISSING, WRITE_KEY_UNKNOWN)."""
        if not write_key:
            raise NotAuthenticated("a write key is required", reason="WRITE_KEY_MISSING")
        source = await self._sources.of_key(write_key_hash(write_key))
        if source is None:
            raise NotAuthenticated("this write key is unknown, or was revoked", reason="WRITE_KEY_UNKNOWN")
        return source

    async def record(self, calls: Iterable[Call | Rejection], delivery: Delivery, count: int) -> Recorded:
        """Returns when the events that were taken are durable. There are `count` calls, read one by one: what is left of one
        when the next comes is its encoded form, so that a batch is worked through in the processor's caches.

        Raises InvalidInput (BODY_TOO_LARGE, BATCH_TOO_LONG), LimitExceeded (OVERLOADED, RATE_LIMITED, QUARANTINE_FULL), Unavailable
        (BROKER_DOWN, STOPPING, TRY_AGAIN); then none is known to be.
        """
        self._check_limits(count, delivery)
        judged = self._judge_all(calls, delivery)
        places = _places(judged, delivery.source.name)
        waiting = await self._hold(judged, places)
        fresh = {event_id: judged[place].encoded for event_id, place in places.items() if judged[place].held is None}
        taken = await self._submit(fresh) if fresh else Taken()
        for event_id in taken.duplicates:
            judged[places[event_id]] = _repeated(judged[places[event_id]])
        self._count_broken(judged, waiting, delivery.source.name)
        verdicts = [item.verdict for item in judged]
        self._tell(verdicts, delivery.source.name)
        return Recorded(verdicts, taken.number)

    async def _submit(self, fresh: dict[bytes, bytes]) -> Taken:
        """What is refused has no acknowledgement, and is not counted among them."""
        began = self._monotonic()
        taken = await self._memory.submit(fresh)
        ACK_SECONDS.observe(self._monotonic() - began)
        return taken

    async def _hold(self, judged: list[Judged], places: dict[bytes, int]) -> set[int]:
        """Puts into the quarantine what belongs there, but for what was applied before its plan forbade it.

        What names somebody who was erased isn't kept; its receipt says that it was refused, as it says of what breaks no rule.
        The places of those that were waiting there before. Raises LimitExceeded (QUARANTINE_FULL).
        """
        held = {event_id: found for event_id, place in places.items() if (found := judged[place].held) is not None}
        if not held:
            return set()
        for event_id in await self._memory.taken_before(held):
            judged[places[event_id]] = _repeated(judged[places[event_id]])
            del held[event_id]
            del places[event_id]
        if not held:
            return set()
        put = await self._patience.wait(self._quarantine.put(list(held.values())))
        for event_id in put.refused:
            self._remember(event_id, REJECTED, PROCESSING_REFUSED)
        return {places[event_id] for event_id in held.keys() - put.added - put.refused}

    def _count_broken(self, judged: list[Judged], waiting: set[int], source: str) -> None:
        """What is sent again breaks nothing again."""
        for place, item in enumerate(judged):
            if item.broken is not None and place not in waiting:
                self._violations.count(source, item.broken.plan_version, item.broken.findings, item.broken.received_at)

    def _tell(self, verdicts: list[Verdict], source: str) -> None:
        """The metrics; and what no other table tells, that an event was rejected or came again, is remembered for receipts."""
        statuses = Counter(verdict.status for verdict in verdicts)
        EVENTS_ACCEPTED.labels(source).inc(statuses["accepted"])
        if statuses["accepted"] == len(verdicts):
            return
        EVENTS_DUPLICATE.labels("ingest").inc(statuses["duplicate"])
        EVENTS_QUARANTINED.labels(source).inc(statuses["quarantined"])
        for verdict in verdicts:
            if verdict.status == "rejected":
                EVENTS_REJECTED.labels(verdict.reason).inc()
            cut = verdict.reason == "MESSAGE_ID_TOO_LONG"  # it would be a receipt of an id that nobody sent
            if verdict.status in ("rejected", "duplicate") and verdict.message_id and not cut:
                self._remember(event_id_of(source, verdict.message_id), verdict.status, verdict.reason)

    def _check_limits(self, events: int, delivery: Delivery) -> None:
        limits = delivery.source.settings
        if events > limits.max_batch_events:
            raise InvalidInput(
                "this source may send fewer events at a time", reason="BATCH_TOO_LONG", limit=limits.max_batch_events
            )
        self._limiter.take(delivery.source.name, limits.events_per_s, events, self._monotonic())

    def _judge_all(self, calls: Iterable[Call | Rejection], delivery: Delivery) -> list[Judged]:
        judged: list[Judged] = []
        room = MAX_REQUEST_BYTES
        for call in calls:
            judged.append(self._judge(call, self._received_next(delivery)))
            room -= len(judged[-1].encoded) + judged[-1].refused_bytes
            if room < 0:
                raise InvalidInput(
                    "the events of a request are too large together", reason="BODY_TOO_LARGE", limit_bytes=MAX_REQUEST_BYTES
                )
        return judged

    def _received_next(self, delivery: Delivery) -> Delivery:
        """Each event has an instant of receipt of its own, in the order in which they came: it decides between equal times."""
        self._last_received_at = max(delivery.received_at, self._last_received_at + 1)
        return msgspec.structs.replace(delivery, received_at=self._last_received_at)

    def _judge(self, call: Call | Rejection, delivery: Delivery) -> Judged:
        event = judge(call, delivery, self._new_message_id) if isinstance(call, Call) else call
        if isinstance(event, Rejection):
            return Judged(Verdict(event.message_id, "rejected", event.reason, event.message))
        plan = delivery.source.plan
        outcome = judge_by_plan(plan, event)
        try:
            encoded = encode(outcome.event, delivery.source.settings.max_event_bytes)
        except InvalidInput as error:
            verdict = Verdict(event.message_id, "rejected", error.reason, error.message)
            return Judged(verdict, refused_bytes=int(error.facts.get("size_bytes", 0)))
        if not outcome.findings:
            return Judged(Verdict(event.message_id, "accepted"), encoded)
        return self._held_to(outcome, encoded, plan.version if plan else 0)

    def _held_to(self, outcome: Outcome, encoded: bytes, plan_version: int) -> Judged:
        """What breaks the plan is counted later, whatever is done with it."""
        event: RawEvent = outcome.event
        broken = Broken(plan_version, outcome.findings, event.received_at)
        if outcome.action not in ("quarantine", "block"):
            return Judged(Verdict(event.message_id, "accepted"), encoded, broken=broken)
        worst = next(found for found in outcome.findings if found.action == outcome.action)
        reason, message = (
            FLAG_PREFIX + worst.rule,
            f"breaks the tracking plan: {worst.place or worst.rule.lower().replace('_', ' ')}",
        )
        if outcome.action == "block":
            return Judged(Verdict(event.message_id, "rejected", reason, message), broken=broken, refused_bytes=len(encoded))
        held = Quarantined(event, encoded, plan_version, outcome.findings, outcome.standard)
        return Judged(Verdict(event.message_id, "quarantined", reason, message), encoded, held, broken)

    def _new_message_id(self) -> str:
        return to_text(self._new_id())


def _places(judged: list[Judged], source: str) -> dict[bytes, int]:
    """Where each event stands that wasn't rejected, by its id; what comes again in the same request becomes a duplicate."""
    places: dict[bytes, int] = {}
    for place, item in enumerate(judged):
        if item.encoded and places.setdefault(event_id_of(source, item.verdict.message_id), place) != place:
            judged[place] = _repeated(item)
    return places


def _repeated(item: Judged) -> Judged:
    return Judged(Verdict(item.verdict.message_id, "duplicate"))
