"""The part of profile's gRPC edge that exports to data lakes."""

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing

import msgspec
from c360.common.v1.common_pb2 import Identifier, Position
from c360.profile.v1 import export_pb2 as pb

from services.profile.api.disclosing import BulkDisclosures, noted_each
from services.profile.api.exported import PAGE_BYTES, event_message
from services.profile.api.places import Places
from services.profile.changes import Because, Change, ChangePage, Erased
from services.profile.enforcement import release, release_event
from services.profile.exports import Exported
from services.profile.lapses import Lapse
from services.profile.new_rules import Place
from services.profile.sweep import Canonical, Link, Traits
from shared.errors import InvalidInput
from shared.events.catalogue import CATALOGUE
from shared.events.consent import PurposeDefined
from shared.events.profile_rules import ProfileRulesActivated
from shared.ids import to_text
from shared.instants import to_timestamp

_LIST = "changes by new rules"
_encode, _decode_place = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Place).decode


def wanted_positions(positions: Iterable[Position]) -> dict[int, int]:
    """By partition. Raises InvalidInput (POSITION_INVALID)."""
    found: dict[int, int] = {}
    for position in positions:
        if position.log != "profile" or position.partition in found:
            raise InvalidInput("one position of log profile for each partition", reason="POSITION_INVALID")
        found[position.partition] = position.number
    return found


def opened_place(places: Places, sealed: bytes) -> Place:
    """Raises InvalidInput (PAGE_TOKEN_INVALID)."""
    return _decode_place(places.open(sealed, _LIST))


async def responses(
    pages: AsyncGenerator[ChangePage, None], purpose: PurposeDefined, places: Places, disclose: BulkDisclosures
) -> AsyncGenerator[pb.ExportChangesResponse, None]:
    async with aclosing(noted_each(pages)) as noted_pages:
        async for page, reading in noted_pages:
            await disclose.give(reading, _disclosed(page.changes, purpose))
            for part, is_last in _parts([_message(change, purpose) for change in page.changes]):
                yield _response(part, page, is_last, places)


def _disclosed(changes: Iterable[Change], purpose: PurposeDefined) -> dict[bytes, set[str]]:
    """By customer, names of fields."""
    found: dict[bytes, set[str]] = {}
    for change in changes:
        match change:
            case Erased():
                continue
            case Because(told=Link(identifier=linked, by=by)):
                found.setdefault(by.record.entry.stream, set()).add(f"identifier:{linked.namespace}")
            case Because(told=Canonical(stream=stream)):
                found.setdefault(stream, set()).add("customer_id")
            case Because(told=Traits(record=record)):
                for member in record.members:
                    found.setdefault(member, set()).update(release(record, purpose).traits)
            case Exported():
                found.setdefault(change.record.entry.stream, set()).add("events")
    return found


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


def _response(part: list[pb.ExportedChange], page: ChangePage, is_last: bool, places: Places) -> pb.ExportChangesResponse:
    ends = page.next_positions.items() if is_last else ()
    response = pb.ExportChangesResponse(
        changes=part,
        next_positions=[Position(log="profile", partition=partition, number=number) for partition, number in ends],
        read_count=page.read,
        total_count=page.total,
        withheld_count=page.withheld,
    )
    if page.place is not None:
        response.new_rules.CopyFrom(
            pb.ExportedNewRules(
                version=page.place.version,
                looked_at_count=page.place.looked_at,
                customer_count=page.streams,
                place=places.seal(_encode(page.place), _LIST) if is_last else b"",
            )
        )
    return response


def _message(change: Change, purpose: PurposeDefined) -> pb.ExportedChange:
    match change:
        case Erased(customer=customer):
            return pb.ExportedChange(erased_customer_id=to_text(customer))
        case Because():
            return _told(change, purpose)
        case _:
            event = event_message(change, purpose)
            event.source = change.public.source
            return pb.ExportedChange(event=event)


def _told(change: Because, purpose: PurposeDefined) -> pb.ExportedChange:
    occasion = _occasion(change, purpose)
    match change.told:
        case Link(identifier=found, unlinked=unlinked, by=by):
            link = pb.ExportedLink(
                customer_id=to_text(by.record.entry.stream),
                identifier=Identifier(namespace=found.namespace, value=found.value or ""),
                identifier_hash=found.value_hash.hex(),
                unlinked=unlinked,
                occasion=occasion,
            )
            return pb.ExportedChange(link=link)
        case Canonical(stream=stream, canonical=canonical):
            found_to = pb.ExportedCanonical(
                customer_id=to_text(stream), canonical_customer_id=to_text(canonical), occasion=occasion
            )
            return pb.ExportedChange(canonical=found_to)
        case Traits(record=record):
            shown = release(record, purpose).traits  # what is masked is shown in profiles alone
            values = {name: trait.value for name, trait in shown.items() if name not in purpose.masks}
            traits = pb.ExportedTraits(
                customer_id=to_text(record.members[0]),
                member_customer_ids=map(to_text, record.members),
                traits=msgspec.json.encode(values).decode(),
                occasion=occasion,
                cut_traits=sorted(name for name in values if shown[name].cut),
            )
            return pb.ExportedChange(traits=traits)


def _occasion(change: Because, purpose: PurposeDefined) -> pb.ExportedOccasion:
    record, cause = change.told.by.record, change.cause
    occasion = pb.ExportedOccasion(
        event_id=to_text(record.entry.event_id),
        occur_time=to_timestamp(record.entry.occurred_at),
        record_time=to_timestamp(record.recorded_at),
        position=Position(log="profile", partition=record.partition, number=record.pos),
        cause_id=to_text(change.cause_id) if change.cause_id else "",
    )
    if cause is not None:
        occasion.cause_type = CATALOGUE[cause.record.entry.type_id].call
        occasion.cause_name = release_event(cause.public, cause.personal, purpose).name or ""
        occasion.cause_source = cause.public.source
    elif isinstance(public := change.told.by.public, ProfileRulesActivated):
        occasion.cause_type, occasion.cause_name = "rules", str(public.version)
    return occasion


def lapse_message(lapse: Lapse) -> pb.ExportedTraits:
    return pb.ExportedTraits(
        customer_id=to_text(lapse.members[0]),
        member_customer_ids=map(to_text, lapse.members),
        traits=msgspec.json.encode(lapse.traits).decode(),
        cut_traits=lapse.cut,
        occasion=pb.ExportedOccasion(
            occur_time=to_timestamp(lapse.changed_at),
            record_time=to_timestamp(lapse.at),
            cause_id=to_text(lapse.decision_id) if lapse.decision_id else "",
            cause_type="confirmed" if lapse.decision_id else "time",
        ),
    )
