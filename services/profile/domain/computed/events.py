"""An event as expressions see it."""

from typing import Any

from services.profile.domain.expressions.language import Kind, Language, Values, instant_of
from shared.events import customer as events
from shared.events.catalogue import CATALOGUE, Entry
from shared.privacy import Personal

_MAP = Kind.Map(Kind.STRING, Kind.DYN)
EVENT = {
    "event.type": Kind.STRING,  # as sources call it: track, identify, page, screen, group, alias
    "event.name": Kind.STRING,  # of a track, page or screen; empty otherwise
    "event.category": Kind.STRING,
    "event.source": Kind.STRING,
    "event.properties": _MAP,
    "event.traits": _MAP,
    "event.context": _MAP,
    "event.occurred_at": Kind.TIMESTAMP,
    "event.received_at": Kind.TIMESTAMP,
}


def name_of(personal: Personal) -> str:
    return personal.name if isinstance(personal, events.Tracked | events.Viewed) else ""


def happened_at(entry: Entry, public: events.Activity) -> int:
    """When an event counts: it can't have happened after it was received, whatever the sender's clock said."""
    return min(entry.occurred_at, public.received_at)


def values_of(language: Language, entry: Entry, public: events.Activity, personal: Any) -> Values:
    return language.values(
        {
            "event.type": CATALOGUE[entry.type_id].call,
            "event.name": name_of(personal),
            "event.category": getattr(personal, "category", ""),
            "event.source": public.source,
            "event.properties": getattr(personal, "properties", {}),
            "event.traits": getattr(personal, "traits", {}),
            "event.context": personal.context,
            "event.occurred_at": instant_of(entry.occurred_at),
            "event.received_at": instant_of(public.received_at),
        }
    )
