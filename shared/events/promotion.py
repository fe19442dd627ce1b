"""Which identifiers come out of an event (promotion as in the Segment specification)."""

from shared.errors import InvalidInput
from shared.events.wire import RawEvent
from shared.identifiers import PLATFORMS, Identifier, normalise, strength


def identifiers_of(event: RawEvent) -> list[Identifier]:
    """The usable ones, strongest first. The region of the source completes phone numbers; the trait stays as it came."""
    personal = {} if event.kind == "group" else event.traits
    context_traits = event.context.get("traits")
    places = [personal, context_traits if isinstance(context_traits, dict) else {}, event.properties]
    candidates: list[tuple[str, object]] = [("user_id", event.user_id), ("anonymous_id", event.anonymous_id)]
    candidates += [*event.external_ids, *_of_device(event.context.get("device"))]
    candidates += [(name, next((place[name] for place in places if place.get(name)), None)) for name in ("email", "phone")]
    if event.kind == "alias":
        candidates.append(("anonymous_id", event.target_id))
    found = {identifier for namespace, value in candidates if (identifier := _usable(namespace, value, event.region)) is not None}
    return sorted(found, key=lambda identifier: (strength(identifier.namespace), identifier))


def _of_device(device: object) -> list[tuple[str, object]]:
    """Of phones and tablets: the device, its push token, and its advertising id when its owner lets it be tracked."""
    if not isinstance(device, dict) or str(device.get("type")).lower() not in PLATFORMS:
        return []
    platform = str(device["type"]).lower()
    found = [(f"{platform}.id", device.get("id")), (f"{platform}.push_token", device.get("token"))]
    if device.get("adTrackingEnabled") is True:
        found.append((f"{platform}.idfa", device.get("advertisingId")))
    return found


def _usable(namespace: str, value: object, region: str) -> Identifier | None:
    """A value that names nobody (null, 000, a broken address) is no identifier; it stays in the event as it came."""
    if not isinstance(value, str):
        return None
    try:
        return normalise(namespace, value, region or None)
    except InvalidInput:
        return None
