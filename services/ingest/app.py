"""What ingest does: takes events, and keeps the sources that may send them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec

from services.ingest.domain import sources as rules
from services.ingest.domain.call import Call, Delivery
from services.ingest.domain.events import Rejection, encode, judge
from services.ingest.domain.sources import PARTITION, RegisterSource
from services.ingest.memory import Memory, Taken
from services.ingest.registrar import Registrar
from services.ingest.views import SourceRow, Sources
from shared.errors import Conflict, Fenced, InvalidInput, NotAuthenticated
from shared.events.source import SourceRegistered
from shared.events.wire import event_id_of
from shared.ids import NewId, to_text
from shared.instants import Clock
from shared.log import LogReader, Record
from shared.telemetry import EVENTS_ACCEPTED, EVENTS_DUPLICATE, EVENTS_REJECTED

MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024  # of encoded events; a shared context is encoded with each
CLAIM_ATTEMPTS: Final = 5  # replicas that register at the same moment fence each other


Status = Literal["accepted", "duplicate", "rejected", "quarantined"]  # of these only a rejected event has no effect, ever


class Verdict(msgspec.Struct, frozen=True):
    """`reason` and `message` say why an event was not simply accepted."""

    message_id: str
    status: Status
    reason: str = ""
    message: str = ""


class Receipt(msgspec.Struct, frozen=True):
    """One verdict an event, in order; `number` is where the newest of those stands that are taken, None when there are none."""

    verdicts: list[Verdict]
    number: int | None


class Registration(msgspec.Struct, frozen=True):
    """`write_key` is empty when the request was answered before."""

    name: str
    write_key: str
    write_key_hint: str
    registered_at: int
    pos: int

    def __repr__(self) -> str:
        return f"<Registration {self.name}>"


# Keeps a verdict (event id, status, reason) for receipts.
Remember = Callable[[bytes, str, str], None]


class _Judged(msgspec.Struct):
    """The events that were not rejected, by id, each once, and where in `verdicts` each stands."""

    verdicts: list[Verdict]
    encoded: dict[bytes, bytes]
    places: dict[bytes, int]


class Ingest:
    def __init__(
        self,
        pool: Any,
        sources: Sources,
        registrar: Registrar,
        memory: Memory,
        remember: Remember,
        clock: Clock,
        new_id: NewId,
        random: Callable[[int], bytes],
    ) -> None:
        self._pool = pool
        self._sources = sources
        self._registrar = registrar
        self._memory = memory
        self._remember = remember
        self._clock = clock
        self._new_id = new_id
        self._random = random
        self._registering = asyncio.Lock()
        self._last_received_at = 0

    def now(self) -> int:
        return self._clock()

    async def authenticate(self, write_key: str) -> str:
        """The source's name. Raises NotAuthenticated (WRITE_KEY_MISSING, WRITE_KEY_UNKNOWN)."""
        if not write_key:
            raise NotAuthenticated("a write key is required", reason="WRITE_KEY_MISSING")
        name = await self._sources.name_of(rules.hash_of(write_key))
        if name is None:
            raise NotAuthenticated("this write key is unknown", reason="WRITE_KEY_UNKNOWN")
        return name

    async def record(self, calls: Iterable[Call | Rejection], delivery: Delivery) -> Receipt:
        """Returns when the accepted events are durable.

        Raises InvalidInput (BODY_TOO_LARGE), LimitExceeded (OVERLOADED), Unavailable (BROKER_DOWN, STOPPING, TRY_AGAIN);
        then none is known to be.
        """
        judged = self._judge_all(calls, delivery)
        taken = await self._memory.submit(judged.encoded) if judged.encoded else Taken()
        for event_id in taken.duplicates:
            place = judged.places[event_id]
            judged.verdicts[place] = Verdict(judged.verdicts[place].message_id, "duplicate")
        self._tell(judged.verdicts, delivery.source)
        return Receipt(judged.verdicts, taken.number)

    async def register_source(self, request_id: str, name: str) -> Registration:
        """Raises InvalidInput (NAME_INVALID, REQUEST_ID_INVALID), AlreadyExists (SOURCE_EXISTS), Conflict."""
        command = RegisterSource(request_id, name, rules.new_write_key(self._random))
        rules.check(command)
        async with self._registering:
            for _ in range(CLAIM_ATTEMPTS):
                try:
                    return await self._register(command)
                except Fenced:
                    continue
        raise Conflict("other sources are being registered; try again", reason="CONFLICT")

    async def list_sources(self) -> list[SourceRow]:
        return await self._sources.all()

    def _judge_all(self, calls: Iterable[Call | Rejection], delivery: Delivery) -> _Judged:
        judged = _Judged([], {}, {})
        room = MAX_REQUEST_BYTES
        for call in calls:
            verdict, event = self._judge(call, self._received_next(delivery))
            if event is not None:
                room -= len(event)
                event_id = event_id_of(delivery.source, verdict.message_id)
                if event_id in judged.encoded:
                    verdict = Verdict(verdict.message_id, "duplicate")
                else:
                    judged.encoded[event_id] = event
                    judged.places[event_id] = len(judged.verdicts)
            judged.verdicts.append(verdict)
            if room < 0:
                raise InvalidInput(
                    "the events of a request are too large together", reason="BODY_TOO_LARGE", limit_bytes=MAX_REQUEST_BYTES
                )
        return judged

    def _tell(self, verdicts: list[Verdict], source: str) -> None:
        """The metrics, and the receipts of what has no effect."""
        statuses = Counter(verdict.status for verdict in verdicts)
        EVENTS_ACCEPTED.labels(source).inc(statuses["accepted"])
        EVENTS_DUPLICATE.labels("ingest").inc(statuses["duplicate"])
        if statuses["accepted"] == len(verdicts):
            return
        for verdict in verdicts:
            if verdict.status == "rejected":
                EVENTS_REJECTED.labels(verdict.reason).inc()
            if verdict.status in ("rejected", "duplicate") and verdict.message_id:
                self._remember(event_id_of(source, verdict.message_id), verdict.status, verdict.reason)

    def _received_next(self, delivery: Delivery) -> Delivery:
        """Each event has an instant of receipt of its own, in the order in which they came: it decides between equal times."""
        self._last_received_at = max(delivery.received_at, self._last_received_at + 1)
        return msgspec.structs.replace(delivery, received_at=self._last_received_at)

    def _judge(self, call: Call | Rejection, delivery: Delivery) -> tuple[Verdict, bytes | None]:
        event = judge(call, delivery, self._new_message_id) if isinstance(call, Call) else call
        if isinstance(event, Rejection):
            return Verdict(event.message_id, "rejected", event.reason, event.message), None
        try:
            return Verdict(event.message_id, "accepted"), encode(event)
        except InvalidInput as error:
            return Verdict(event.message_id, "rejected", error.reason, error.message), None

    def _new_message_id(self) -> str:
        return to_text(self._new_id())

    async def _register(self, command: RegisterSource) -> Registration:
        registered = await self._registrar.register(command)
        [record] = await LogReader(self._pool).streams([(PARTITION, rules.stream_of(command.name))])
        if registered is None:
            return _registration(record, "")
        self._sources.remember(registered)
        return _registration(record, command.write_key)


def _registration(record: Record, write_key: str) -> Registration:
    event: SourceRegistered = record.entry.public()
    return Registration(event.name, write_key, event.write_key_hint, record.recorded_at, record.pos)
