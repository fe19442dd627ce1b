"""What several reads amount to, as a message."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from c360.profile.v1 import disclosure_pb2 as pb
from google.protobuf.message import Message

from services.profile.domain.read_summary import Place, ReadSummary
from shared.instants import to_timestamp

PART_BYTES = 1024 * 1024  # of a message of a stream, and one read more

Item = TypeVar("Item")
M = TypeVar("M", bound=Message)


def summary_message(summary: ReadSummary) -> pb.ReadSummary:
    message = pb.ReadSummary(
        read_count=summary.reads,
        customer_count=len(summary.customers),
        more_customers=summary.more_customers,
        purposes=_counts(summary.purposes),
        callers=_counts(summary.callers),
        reasons=_counts(summary.reasons),
        example_ids=map(disclosure_id, summary.examples),
    )
    if summary.reads:
        message.first_time.CopyFrom(to_timestamp(summary.first_at))
        message.last_time.CopyFrom(to_timestamp(summary.last_at))
    return message


def disclosure_id(place: Place) -> str:
    return f"{place[0]}.{place[1]}"


def parts(items: Iterable[Item], message_of: Callable[[Item], M]) -> Generator[list[M], None, None]:
    """Their messages, as many at a time as a message of a stream may hold; at least one part, so that progress is told."""
    part, size_bytes = list[M](), 0
    for item in items:
        if size_bytes >= PART_BYTES:
            yield part
            part, size_bytes = [], 0
        part.append(message_of(item))
        size_bytes += part[-1].ByteSize()
    yield part


def _counts(counts: Counter[str]) -> list[pb.NamedCount]:
    return [pb.NamedCount(name=name, count=count) for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
