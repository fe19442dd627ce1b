"""Sends events in batches: resends what got no answer under the same message ids, so nothing doubles, and counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from services.cli.errors import error_info
from services.cli.parts import COUNT, SIZE, Parts, TooLarge
from services.cli.segment import Line, UnreadableEventError, to_event

if TYPE_CHECKING:
    import grpc
    from c360.common.v1 import common_pb2
    from c360.ingest.v1 import ingest_pb2

BATCH_EVENTS = 1000  # the service takes 2,500 unless the source may send fewer; smaller ones keep the progress moving
BATCH_BYTES = 1024 * 1024  # well under gRPC's default of 4 MiB a message
LISTED_REJECTIONS = 1000  # the rest are counted only, so that a file of rubbish does not fill the memory
RETRIES_AT_MOST = 5
FIRST_RETRY_DELAY_S = 0.2  # doubles with every retry: about six seconds in all

Record = Callable[["ingest_pb2.RecordEventsRequest"], "ingest_pb2.RecordEventsResponse"]


@dataclass(frozen=True)
class Rejection:
    line: int
    message_id: str
    reason: str
    field: str  # what is to blame, where this command found it


@dataclass
class Tally:
    accepted: int = 0
    duplicate: int = 0  # sent before; the first one counts
    quarantined: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    rejections: list[Rejection] = field(default_factory=list)
    positions: dict[tuple[str, int], int] = field(default_factory=dict)  # the newest of each, and the newest of all last
    answered_line: int = 0  # the line of the last event that has its verdict
    pending_line: int = 0  # the line where the batch begins that is under way
    bytes_done: int = 0

    def reject(self, line: int, message_id: str, reason: str, field: str = "") -> None:
        self.rejected[reason] += 1
        if len(self.rejections) < LISTED_REJECTIONS:
            self.rejections.append(Rejection(line, message_id, reason, field))

    def place(self, position: common_pb2.Position) -> None:
        self.positions.pop(key := (position.log, position.partition), None)
        self.positions[key] = position.number

    def in_line_order(self) -> list[Rejection]:
        """A line that can't be read is rejected at once, one that is sent when its batch is answered."""
        return sorted(self.rejections, key=lambda rejection: rejection.line)

    def position_texts(self) -> list[str]:
        return [f"{log}/{partition}/{number}" for (log, partition), number in self.positions.items()]

    def as_data(self) -> dict[str, Any]:
        return {
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "quarantined": self.quarantined,
            "rejected": self.rejected.total(),
            "reasons": dict(sorted(self.rejected.items())),
            "rejections": [vars(rejection) for rejection in self.in_line_order()],
            "position": next(reversed(self.position_texts()), None),
            "positions": self.position_texts(),
        }


Item = tuple[Line, "ingest_pb2.Event"]


def send(lines: Iterable[Line], record: Record, tally: Tally) -> Iterator[Tally]:
    """Yields the tally after every request. Raises what `record` raised when retries did not help."""

    def send_part(part: Sequence[Item]) -> ingest_pb2.RecordEventsResponse:
        tally.pending_line = part[0][0].number
        return _recorded(record, part)

    parts = Parts()
    for batch in _batches(lines, tally):
        for part, answer in parts.send(batch, send_part, _refuse):
            _count(part, answer, tally)
            yield tally


def _batches(lines: Iterable[Line], tally: Tally) -> Iterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    for line in lines:
        tally.bytes_done += line.size_bytes
        event = _readable(line, tally)
        if event is None:
            continue
        event_bytes = event.ByteSize()
        if batch and (len(batch) == BATCH_EVENTS or size + event_bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((line, event))
        size += event_bytes
    if batch:
        yield batch


def _readable(line: Line, tally: Tally) -> ingest_pb2.Event | None:
    if line.value is None:
        tally.reject(line.number, "", line.reason)
        return None
    try:
        return to_event(line.value, message_id=str(uuid4()))
    except UnreadableEventError as error:
        tally.reject(line.number, str(line.value.get("messageId") or ""), error.reason, error.field)
        return None


def _recorded(record: Record, part: Sequence[Item]) -> ingest_pb2.RecordEventsResponse:
    """Raises TooLarge, and grpc.RpcError when retries did not help."""
    import grpc
    from c360.ingest.v1 import ingest_pb2

    request = ingest_pb2.RecordEventsRequest(events=[event for _, event in part])
    request.sent_time.GetCurrentTime()
    retryable = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    for attempt in range(RETRIES_AT_MOST + 1):
        try:
            return record(request)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                _raise_if_too_large(error)
            if attempt == RETRIES_AT_MOST or error.code() not in retryable:
                raise
            time.sleep(FIRST_RETRY_DELAY_S * 2**attempt)
    raise AssertionError("the last attempt returned or raised")


def _raise_if_too_large(error: grpc.RpcError) -> None:
    reason, facts = error_info(error)
    if reason in (COUNT, SIZE):
        raise TooLarge(reason, str(error), int(facts.get("limit", 0))) from error


def _refuse(item: Item, why: TooLarge) -> ingest_pb2.RecordEventsResponse:
    from c360.ingest.v1 import ingest_pb2

    result = ingest_pb2.EventResult(message_id=item[1].message_id, status=ingest_pb2.EVENT_STATUS_REJECTED, reason=why.reason)
    return ingest_pb2.RecordEventsResponse(results=[result])


def _count(batch: Sequence[Item], answer: ingest_pb2.RecordEventsResponse, tally: Tally) -> None:
    from c360.ingest.v1 import ingest_pb2

    for (line, _), result in zip(batch, answer.results, strict=True):
        match result.status:
            case ingest_pb2.EVENT_STATUS_ACCEPTED:
                tally.accepted += 1
            case ingest_pb2.EVENT_STATUS_DUPLICATE:
                tally.duplicate += 1
            case ingest_pb2.EVENT_STATUS_QUARANTINED:
                tally.quarantined += 1
            case _:
                tally.reject(line.number, result.message_id, result.reason)
    if answer.HasField("position"):
        tally.place(answer.position)
    tally.answered_line = batch[-1][0].number
