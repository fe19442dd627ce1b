"""An event of a source as it is written to its customer's stream."""

from dataclasses import dataclass

from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.wire import RawEvent
from shared.privacy import Personal
from shared.vault import DataKey


@dataclass(frozen=True, slots=True)
class Placed:
    """An event whose customer is found."""

    event: RawEvent
    event_id: bytes
    resolved_by: bytes
    also_named: tuple[bytes, ...]
    customer: bytes


def activity_entry(item: Placed, key: DataKey) -> Entry:
    event = item.event
    public = events.Activity(
        source=event.source,
        resolved_by=item.resolved_by,
        also_named=item.also_named,
        original_at=event.original_at,
        sent_at=event.sent_at,
        received_at=event.received_at,
        flags=event.flags,
    )
    return make_entry(events.ACTIVITIES[event.kind], item.customer, item.event_id, event.occurred_at, public, _personal(event), key)


def _personal(event: RawEvent) -> Personal:
    match event.kind:
        case "identify":
            return events.Identified(traits=event.traits, context=event.context, raw=event.raw, extra=event.extra)
        case "track":
            return events.Tracked(
                name=event.name, properties=event.properties, context=event.context, raw=event.raw, extra=event.extra
            )
        case "page" | "screen":
            return events.Viewed(
                name=event.name,
                category=event.category,
                properties=event.properties,
                context=event.context,
                raw=event.raw,
                extra=event.extra,
            )
        case "group":
            return events.Grouped(
                group_id=event.target_id, traits=event.traits, context=event.context, raw=event.raw, extra=event.extra
            )
        case "alias":
            return events.Aliased(previous_id=event.target_id, context=event.context, extra=event.extra)
