"""What an event must have to be taken.

The checks are those whose failure would make an answer of "accepted" a lie further down: an event whose person can't be
named never reaches a profile, one that can't be encoded can't be stored.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

import msgspec

from services.ingest.domain import clocks
from services.ingest.domain.call import CLOUDEVENT, MAX_MESSAGE_ID, Call, Delivery, Text
from services.ingest.domain.repairs import TEXT_REPAIRED, RepairedCall, is_broken
from services.ingest.domain.settings import MOST_EVENT_BYTES
from shared.errors import InvalidInput
from shared.events import wire
from shared.events.wire import EventKind, RawEvent
from shared.identifiers import NAMESPACE, normalise, of_a_person

MAX_EXTERNAL_IDS: Final = 50  # of one event; one that has more describes a list of people, or is a mistake

KINDS: Final[Mapping[str, EventKind]] = {kind: kind for kind in get_args(EventKind)}


class Rejection(msgspec.Struct, frozen=True):
    """An event that was not taken. `message` is safe to show: it names fields, never their content."""

    message_id: str
    reason: str
    message: str


def call_of(read: Callable[[Any], Call], raw: Any, name: Callable[[Any], str]) -> Call | Rejection:
    """What `read` makes of one event, or why it can't be read; the others of its request go on.

    `name` tells the message id of what can't be read, so that its sender finds it again.
    """
    try:
        return read(raw)
    except InvalidInput as error:
        return Rejection(name(raw), error.reason, error.message)


def judge(call: Call, delivery: Delivery, new_message_id: Callable[[], str]) -> RawEvent | Rejection:
    """Never raises, whatever the call holds."""
    message_id = _text(call.message_id)
    try:
        return _accept(call, delivery, message_id or new_message_id())
    except InvalidInput as error:
        return Rejection(message_id[:MAX_MESSAGE_ID], error.reason, error.message)


def encode(event: RawEvent, max_bytes: int = MOST_EVENT_BYTES) -> bytes:
    """Raises InvalidInput (EVENT_TOO_LARGE, NUMBER_TOO_LARGE)."""
    try:
        encoded = wire.encode(event)
    except OverflowError:
        raise InvalidInput("a whole number has at most 64 bits; send larger ones as text", reason="NUMBER_TOO_LARGE") from None
    if len(encoded) > max_bytes:
        raise InvalidInput(
            "the event with its batch's context is too large",
            reason="EVENT_TOO_LARGE",
            limit_bytes=max_bytes,
            size_bytes=len(encoded),
        )
    return encoded


def _accept(call: Call, delivery: Delivery, message_id: str) -> RawEvent:
    if len(message_id) > MAX_MESSAGE_ID:
        raise InvalidInput("a message id has at most 100 characters", reason="MESSAGE_ID_TOO_LONG", limit=MAX_MESSAGE_ID)
    kind = KINDS.get(call.type) if isinstance(call.type, str) else None
    if kind is None:
        raise InvalidInput("the type is identify, track, page, screen, group or alias", reason="EVENT_TYPE_UNKNOWN")
    if not delivery.source.allows(kind):
        raise InvalidInput("this source may not send events of this type", reason="EVENT_TYPE_NOT_ALLOWED")
    user_id, anonymous_id = _text(call.user_id), _text(call.anonymous_id)
    _check_person(user_id, anonymous_id)
    times = clocks.read(call, delivery)
    flags = times.flags
    if delivery.flags or isinstance(call, RepairedCall):
        flags = _flags(call, delivery, times)
    context = _merged(delivery.context, call.context)
    external_ids, target_id = _external_ids(call.external_ids, context.get("externalIds")), _target_id(kind, call)
    if TEXT_REPAIRED in flags:
        _check_ids(call, message_id, user_id, anonymous_id, target_id, external_ids)
    return RawEvent(
        kind=kind,
        message_id=message_id,
        source=delivery.source.name,
        user_id=user_id or None,
        anonymous_id=anonymous_id or None,
        external_ids=external_ids,
        name=_name(kind, call),
        category=call.category or "",
        target_id=target_id,
        properties=call.properties or {},
        traits=call.traits or {},
        context=context,
        integrations=_merged(delivery.integrations, call.integrations),
        extra=call.extra or {},
        occurred_at=times.occurred_at,
        original_at=times.original_at,
        sent_at=times.sent_at,
        received_at=delivery.received_at,
        flags=flags,
        region=delivery.source.settings.region,
        gpc=delivery.gpc,
    )


def _flags(call: Call, delivery: Delivery, times: clocks.Times) -> list[str]:
    repairs = call.flags if isinstance(call, RepairedCall) else ()
    return sorted({*times.flags, *delivery.flags, *repairs})


def _check_ids(call: Call, *ids: Any) -> None:
    attributes = (call.extra or {}).get(CLOUDEVENT)
    if is_broken([*ids, *(attributes.values() if isinstance(attributes, dict) else ())]):
        raise InvalidInput("an id holds half of a surrogate pair, which is no character", reason="ID_BROKEN")


def _text(value: Text) -> str:
    """Some systems send their ids as numbers."""
    return "" if value is None else str(value).strip()


def _check_person(user_id: str, anonymous_id: str) -> None:
    """One usable id is enough: the other may be what a form sends for "nobody"."""
    if not user_id and not anonymous_id:
        raise InvalidInput("userId or anonymousId is required", reason="IDS_MISSING")
    if not _usable("user_id", user_id) and not _usable("anonymous_id", anonymous_id):
        raise InvalidInput("neither userId nor anonymousId can name a person", reason="IDS_UNUSABLE")


def _usable(namespace: str, value: str) -> bool:
    if not value:
        return False
    try:
        normalise(namespace, value)
    except InvalidInput:
        return False
    return True


def _name(kind: EventKind, call: Call) -> str:
    if kind != "track":
        return call.name or ""
    if not call.event or not call.event.strip():
        raise InvalidInput("track needs the event's name in `event`", reason="EVENT_NAME_MISSING")
    return call.event


def _target_id(kind: EventKind, call: Call) -> str:
    if kind == "group":
        if not (group_id := _text(call.group_id)):
            raise InvalidInput("group needs groupId", reason="GROUP_ID_MISSING")
        return group_id
    if kind == "alias":
        if not (previous_id := _text(call.previous_id)):
            raise InvalidInput("alias needs previousId", reason="PREVIOUS_ID_MISSING")
        return previous_id
    return ""


def _merged(shared: dict[str, Any], own: dict[str, Any] | None) -> dict[str, Any]:
    """What the item says wins over what its batch says."""
    if not shared:
        return own or {}
    return {**shared, **own} if own else shared


def _external_ids(own: Any, of_context: Any) -> list[tuple[str, str]]:
    """From [{"id", "type"}, ...]; several of one type may come. What isn't of a person stays in the context and names nobody.

    Raises InvalidInput (EXTERNAL_IDS_INVALID, EXTERNAL_IDS_TOO_MANY).
    """
    found: dict[tuple[str, str], None] = {}
    for listed in (own, of_context):
        if listed is None:
            continue
        if not isinstance(listed, list):
            raise _external_ids_invalid()
        if len(listed) > MAX_EXTERNAL_IDS:  # before the walk: a batch's list is walked for each of its events
            raise _external_ids_too_many()
        for item in listed:
            namespace, value = _external_id(item)
            if value and of_a_person(item.get("collection")):
                found[namespace, value] = None
    if len(found) > MAX_EXTERNAL_IDS:
        raise _external_ids_too_many()
    return list(found)


def _external_id(item: Any) -> tuple[str, str]:
    namespace, value = (item.get("type"), item.get("id")) if isinstance(item, dict) else (None, None)
    if not isinstance(namespace, str) or not NAMESPACE.fullmatch(namespace):
        raise _external_ids_invalid()
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise _external_ids_invalid()
    return namespace, _text(value)


def _external_ids_too_many() -> InvalidInput:
    return InvalidInput("an event has at most 50 externalIds", reason="EXTERNAL_IDS_TOO_MANY", limit=MAX_EXTERNAL_IDS)


def _external_ids_invalid() -> InvalidInput:
    return InvalidInput(
        "externalIds is a list of {type, id}; a type is 1 to 64 letters, digits, '_', '.', '-'", reason="EXTERNAL_IDS_INVALID"
    )
