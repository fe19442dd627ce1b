"""An event of a source as it is written to its customer's stream, and what it says of a choice."""

from typing import NamedTuple

from services.identity.graph.region import Seen
from services.identity.graph.rules import Rules
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.said import signals_of
from shared.events.wire import RawEvent, Statement
from shared.privacy import Personal
from shared.vault import DataKey


class Placed(NamedTuple):
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


def statements_of(event_id: bytes, event: RawEvent, seen: Seen, rules: Rules) -> list[Statement]:
    """One at most. It is chosen in a browser or an app, so it is that one's, whoever is logged in: who withdraws in the account isn't
    overruled by the cookie of a device that comes to it later."""
    if not (signals := signals_of(event)):
        return []
    devices = [node for node in seen.nodes if node.namespace == "anonymous_id" and node.value_hash not in rules.blocked]
    by = devices[0] if devices and event.kind != "alias" else seen.resolving
    return [
        Statement(
            event_id=event_id,
            identifier_hash=by.value_hash,
            namespace=by.namespace,
            source=event.source,
            happened_at=min(event.occurred_at, event.received_at),
            signals=signals,
        )
    ]


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
