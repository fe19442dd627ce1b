"""The part `events`: what the person did, latest first or oldest first, as far as the purpose may see it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from services.profile.domain.state import LinkedIdentifier
from services.profile.enforcement import release, release_event
from services.profile.http.answers import encode
from services.profile.http.queries import Query, rfc3339
from services.profile.http.resources import Read, cursor_of
from services.profile.timelines import Filter, Stretch, TimelineItem, Timelines, place_of
from shared.events import customer as events
from shared.ids import to_text
from shared.instants import END_OF_TIME
from shared.log.reader import BEGINNING_OF_TIME, Place
from shared.privacy import REDACTED

KINDS: Final = frozenset(kind.id.partition(".")[2] for kind in events.ACTIVITIES.values())
PAGE_BYTES: Final = 1024 * 1024  # of an answer's events; a single one may be larger
CALLS: Final = {kind.id: call for call, kind in events.ACTIVITIES.items()}  # what the sender called it


def filter_of(query: Query) -> Filter:
    """`start` is included and `end` isn't, so that what ends where the next begins shows nothing twice.

    Raises InvalidInput (INSTANT_INVALID, TOO_MANY_NAMES).
    """
    start, end = query.instant("start"), query.instant("end")
    return Filter(
        kinds=KINDS,
        names=query.names("include") or frozenset(),
        without_names=query.names("exclude") or frozenset(),
        since=BEGINNING_OF_TIME if start is None else start,
        until=END_OF_TIME if end is None else end - 1,
        earliest_first=query.choice("sort", ("desc", "asc")) == "asc",
    )


async def activities(read: Read, timelines: Timelines, wanted: Filter) -> dict[str, Any]:
    page = read.page
    stretch = await timelines.page(read.customer, read.instant, read.purpose, wanted, read.after, page.size)
    known = {found.value_hash: found for found in release(read.profile.record, read.purpose).identifiers}
    data, rest = _as_many_as_fit(stretch, lambda item: _activity(item, known, read))
    return {"data": data, "cursor": cursor_of(read, read.token_of(rest))}


def _as_many_as_fit(stretch: Stretch, told: Callable[[TimelineItem], dict[str, Any]]) -> tuple[list[msgspec.Raw], Place | None]:
    """One at the least; and where the timeline goes on."""
    data: list[msgspec.Raw] = []
    size_bytes = 0
    for item in stretch.items:
        encoded = encode(told(item))
        size_bytes += len(encoded)
        if data and size_bytes > PAGE_BYTES:
            return data, place_of(stretch.items[len(data) - 1].record)
        data.append(msgspec.Raw(encoded))
    return data, stretch.rest


def _activity(item: TimelineItem, known: Mapping[bytes, LinkedIdentifier], read: Read) -> dict[str, Any]:
    """What there isn't, or what the purpose may not see, isn't named."""
    entry, public, told = item.record.entry, item.public, release_event(item.public, item.personal, read.purpose)
    parts = {"event": told.name or None, "category": told.category or None, "context": told.context}
    parts |= {"properties": told.properties, "traits": told.traits, _target_of(item.kind): told.target_id}
    linked = known.get(public.resolved_by)
    return {
        "type": CALLS[entry.type_id],
        "message_id": to_text(entry.event_id),
        "source_id": public.source,
        "timestamp": rfc3339(entry.occurred_at),
        "received_at": rfc3339(public.received_at),
        "external_ids": [{"collection": "users", "type": linked.namespace, "id": linked.value, "encoding": "none"}]
        if linked
        else [],
        "related": {"users": read.told_as},
        **{name: value for name, value in parts.items() if value is not None},
        **({"redacted": True} if item.personal is REDACTED else {}),
    }


def _target_of(kind: str) -> str:
    return "group_id" if kind == "grouped" else "previous_id"
