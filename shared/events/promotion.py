"""Which identifiers come out of an event (promotion as in the Segment specification)."""

from shared.errors import InvalidInput
from shared.events.wire import RawEvent
from shared.identifiers import Identifier, normalise, strength


def identifiers_of(event: RawEvent) -> list[Identifier]:
    """The usable ones, strongest first."""
    personal = {} if event.kind == "group" else event.traits
    context_traits = event.context.get("traits")
    places = [personal, context_traits if isinstance(context_traits, dict) else {}, event.properties]
    candidates = [("user_id", event.user_id), ("anonymous_id", event.anonymous_id), *event.external_ids.items()]
    candidates += [(name, next((place[name] for place in places if place.get(name)), None)) for name in ("email", "phone")]
    if event.kind == "alias":
        candidates.append(("anonymous_id", event.target_id))
    found = {identifier for namespace, value in candidates if (identifier := _usable(namespace, value)) is not None}
    return sorted(found, key=lambda identifier: (strength(identifier.namespace), identifier))


def _usable(namespace: str, value: object) -> Identifier | None:
    """A value that names nobody (null, 000, a broken address) is no identifier; it stays in the event as it came."""
    if not isinstance(value, str):
        return None
    try:
        return normalise(namespace, value)
    except InvalidInput:
        return None
