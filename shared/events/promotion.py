"""Which identifiers come out of an event (promotion as in the Segment specification)."""

from shared.errors import InvalidInput
from shared.events.wire import RawEvent
from shared.identifiers import PLATFORMS, Identifier, normalise, strength

Said = tuple[tuple[str, str], ...]  # (namespace, value as it came) of what may be an identifier


def identifiers_of(event: RawEvent) -> list[Identifier]:
    """The usable ones, strongest first. The region of the source completes phone numbers; the trait stays as it came."""
    return promote(said_of(event), event.region)


def said_of(event: RawEvent) -> Said:
    """Whom an event is about, in its own words: the same in all events of a visit, so that these need to be understood once."""
    context_traits = event.context.get("traits")
    own = {} if event.kind == "group" else event.traits
    places = [own, context_traits if isinstance(context_traits, dict) else {}, event.properties]
    said: list[tuple[str, object]] = [("user_id", event.user_id), ("anonymous_id", event.anonymous_id), *event.external_ids]
    if device := event.context.get("device"):
        said += _of_device(device)
    for name in ("email", "phone"):
        for place in places:
            if value := place.get(name):
                said.append((name, value))
                break
    if event.kind == "alias":
        said.append(("anonymous_id", event.target_id))
    return tuple([(namespace, value) for namespace, value in said if isinstance(value, str)])


def promote(said: Said, region: str) -> list[Identifier]:
    """The usable ones, strongest first. `region` (ISO 3166) completes phone numbers."""
    found = {identifier for namespace, value in said if (identifier := _usable(namespace, value, region)) is not None}
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


def _usable(namespace: str, value: str, region: str) -> Identifier | None:
    """A value that names nobody (null, 000, a broken address) is no identifier; it stays in the event as it came."""
    try:
        return normalise(namespace, value, region or None)
    except InvalidInput:
        return None
