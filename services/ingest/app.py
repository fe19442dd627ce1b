"""What ingest does with events: judges each, and makes those that it takes durable."""

from collections.abc import Callable, Iterable
from typing import Final, Literal, Protocol

import msgspec

from services.ingest.domain.call import Call, Delivery
from services.ingest.domain.events import Rejection, encode, judge
from services.ingest.domain.limiter import Limiter
from services.ingest.domain.plan import Outcome
from services.ingest.domain.settings import SourceSettings
from services.ingest.domain.sources import hash_of
from services.ingest.quarantine import Quarantine, Quarantined
from services.ingest.views import Sources
from services.ingest.violations import Violations
from shared.errors import InvalidInput, NotAuthenticated
from shared.events.wire import RawEvent
from shared.ids import NewId, to_text
from shared.instants import Clock
from shared.telemetry import EVENTS_ACCEPTED, EVENTS_QUARANTINED, EVENTS_REJECTED

MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024  # of encoded events; a shared context is encoded with each


class Buffer(Protocol):
    async def submit(self, events: list[bytes]) -> int:
        """Returns where the events stand once they are durable."""
        ...


Status = Literal["accepted", "duplicate", "rejected", "quarantined"]  # of these only a rejected event has no effect, ever


class Verdict(msgspec.Struct, frozen=True):
    """`reason` and `message` say why an event was not simply accepted."""

    message_id: str
    status: Status
    reason: str = ""
    message: str = ""


class Receipt(msgspec.Struct, frozen=True):
    """One verdict an event, in order; `number` is where the accepted ones stand, None when there were none."""

    verdicts: list[Verdict]
    number: int | None


class Judged(msgspec.Struct, frozen=True):
    """A verdict, and the encoded event unless it was rejected. `held` is set when that goes into the quarantine."""

    verdict: Verdict
    encoded: bytes = b""
    held: Quarantined | None = None

    def __repr__(self) -> str:
        return f"<Judged {self.verdict.status}>"


class Ingest:
    """`monotonic` tells seconds."""

    def __init__(
        self,
        sources: Sources,
        buffer: Buffer,
        quarantine: Quarantine,
        violations: Violations,
        clock: Clock,
        monotonic: Callable[[], float],
        new_id: NewId,
    ) -> None:
        self._sources = sources
        self._buffer = buffer
        self._quarantine = quarantine
        self._violations = violations
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id
        self._limiter = Limiter()
        self._last_received_at = 0

    def now(self) -> int:
        return self._clock()

    async def authenticate(self, write_key: str) -> SourceSettings:
        """Raises NotAuthenticated (WRITE_KEY_MISSING, WRITE_KEY_UNKNOWN)."""
        if not write_key:
            raise NotAuthenticated("a write key is required", reason="WRITE_KEY_MISSING")
        source = await self._sources.of_key(hash_of(write_key))
        if source is None:
            raise NotAuthenticated("this write key is unknown, or was revoked", reason="WRITE_KEY_UNKNOWN")
        return source

    async def record(self, calls: Iterable[Call | Rejection], delivery: Delivery) -> Receipt:
        """Returns when the events that were taken are durable.

        Raises InvalidInput (BODY_TOO_LARGE, BATCH_TOO_LONG), LimitExceeded (OVERLOADED, RATE_LIMITED), Unavailable (BROKER_DOWN);
        then none is known to be.
        """
        calls = list(calls)
        self._check_limits(len(calls), delivery)
        judged = self._judge_all(calls, delivery)
        if held := [item.held for item in judged if item.held is not None]:
            await self._quarantine.put(held)
            EVENTS_QUARANTINED.labels(delivery.source).inc(len(held))
        encoded = [item.encoded for item in judged if item.verdict.status == "accepted"]
        number = await self._buffer.submit(encoded) if encoded else None
        EVENTS_ACCEPTED.labels(delivery.source).inc(len(encoded))
        for item in judged:
            if item.verdict.status == "rejected":
                EVENTS_REJECTED.labels(item.verdict.reason).inc()
        return Receipt([item.verdict for item in judged], number)

    def _check_limits(self, events: int, delivery: Delivery) -> None:
        limits = delivery.settings.settings
        if events > limits.max_batch_events:
            raise InvalidInput(
                "this source may send fewer events at a time", reason="BATCH_TOO_LONG", limit=limits.max_batch_events
            )
        self._limiter.take(delivery.source, limits.events_per_s, limits.max_batch_events, events, self._monotonic())

    def _judge_all(self, calls: Iterable[Call | Rejection], delivery: Delivery) -> list[Judged]:
        judged: list[Judged] = []
        room = MAX_REQUEST_BYTES
        for call in calls:
            judged.append(self._judge(call, self._received_next(delivery)))
            room -= len(judged[-1].encoded)
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
        plan = delivery.settings.plan
        outcome = Outcome(event) if plan is None else plan.judge(event)
        try:
            encoded = encode(outcome.event, delivery.settings.settings.max_event_bytes)
        except InvalidInput as error:
            return Judged(Verdict(event.message_id, "rejected", error.reason, error.message))
        if not outcome.findings:
            return Judged(Verdict(event.message_id, "accepted"), encoded)
        return self._held_to(outcome, encoded, plan.version)

    def _held_to(self, outcome: Outcome, encoded: bytes, plan_version: int) -> Judged:
        """What breaks the plan is counted, whatever is done with it."""
        event: RawEvent = outcome.event
        self._violations.count(event.source, plan_version, outcome.findings, event.received_at)
        if outcome.action not in ("quarantine", "block"):
            return Judged(Verdict(event.message_id, "accepted"), encoded)
        worst = next(found for found in outcome.findings if found.action == outcome.action)
        reason, message = f"PLAN_{worst.rule}", f"breaks the tracking plan: {worst.place or worst.rule.lower().replace('_', ' ')}"
        if outcome.action == "block":
            return Judged(Verdict(event.message_id, "rejected", reason, message))
        held = Quarantined(event, encoded, plan_version, outcome.findings)
        return Judged(Verdict(event.message_id, "quarantined", reason, message), encoded, held)

    def _new_message_id(self) -> str:
        return to_text(self._new_id())
