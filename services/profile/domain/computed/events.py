"""An event as expressions see it."""

from collections.abc import Callable, Collection, Mapping
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


# Only what expressions look at is made.
_MADE: Mapping[str, Callable[[Entry, events.Activity, Any], Any]] = {
    "event.type": lambda entry, public, personal: CATALOGUE[entry.type_id].call,
    "event.name": lambda entry, public, personal: name_of(personal),
    "event.category": lambda entry, public, personal: getattr(personal, "category", ""),
    "event.source": lambda entry, public, personal: public.source,
    "event.properties": lambda entry, public, personal: getattr(personal, "properties", {}),
    "event.traits": lambda entry, public, personal: getattr(personal, "traits", {}),
    "event.context": lambda entry, public, personal: personal.context,
    "event.occurred_at": lambda entry, public, personal: instant_of(entry.occurred_at),
    "event.received_at": lambda entry, public, personal: instant_of(public.received_at),
}


def values_of(language: Language, used: Collection[str], entry: Entry, public: events.Activity, personal: Any) -> Values:
    return language.values({name: _MADE[name](entry, public, personal) for name in used})
