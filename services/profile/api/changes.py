"""The part of profile's gRPC edge that exports to data lakes."""

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing

from c360.common.v1.common_pb2 import Position
from c360.profile.v1 import export_pb2 as pb

from services.profile.api.exported import PAGE_BYTES, event_message
from services.profile.changes import Change, ChangePage, Erased
from shared.errors import InvalidInput
from shared.events.consent import PurposeDefined
from shared.ids import to_text


def wanted_positions(positions: Iterable[Position]) -> dict[int, int]:
    """By partition. Raises InvalidInput (POSITION_INVALID)."""
    found: dict[int, int] = {}
    for position in positions:
        if position.log != "profile" or position.partition in found:
            raise InvalidInput("one position of log profile for each partition", reason="POSITION_INVALID")
        found[position.partition] = position.number
    return found


async def responses(
    pages: AsyncGenerator[ChangePage, None], purpose: PurposeDefined
) -> AsyncGenerator[pb.ExportChangesResponse, None]:
    async with aclosing(pages):
        async for page in pages:
            for part, is_last in _parts([_message(change, purpose) for change in page.changes]):
                yield _response(part, page, is_last)


def _parts(found: Iterable[pb.ExportedChange]) -> Iterator[tuple[list[pb.ExportedChange], bool]]:
    """And whether it is the last; there is at least one, so that progress is told."""
    part: list[pb.ExportedChange] = []
    size_bytes = 0
    for change in found:
        if size_bytes >= PAGE_BYTES:
            yield part, False
            part, size_bytes = [], 0
        part.append(change)
        size_bytes += change.ByteSize()
    yield part, True


def _response(part: list[pb.ExportedChange], page: ChangePage, is_last: bool) -> pb.ExportChangesResponse:
    ends = page.next_positions.items() if is_last else ()
    return pb.ExportChangesResponse(
        changes=part,
        next_positions=[Position(log="profile", partition=partition, number=number) for partition, number in ends],
        read_count=page.read,
        total_count=page.total,
        withheld_count=page.withheld,
    )


def _message(change: Change, purpose: PurposeDefined) -> pb.ExportedChange:
    if isinstance(change, Erased):
        return pb.ExportedChange(erased_customer_id=to_text(change.customer))
    event = event_message(change, purpose)
    event.source = change.public.source
    return pb.ExportedChange(event=event)
