"""Values of traits as rules compare them. Pure; raises nothing for any JSON value."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from services.profile.domain.rules import TypeName

_canonical = msgspec.msgpack.Encoder(order="deterministic")


def is_of(value: Any, kind: TypeName) -> bool:
    """Truth values are no numbers. An instant is text as RFC 3339 has it, or a date; without an offset it is UTC."""
    match kind:
        case "text":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "instant":
            return instant_of(value) is not None
        case "list":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)


def instant_of(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def measure(value: Any, kind: TypeName) -> Any:
    """What min and max compare: of one kind all are comparable."""
    return instant_of(value) if kind == "instant" else value


def same(value: Any) -> bytes:
    """Equal for equal values: 1 and 1.0 are, 1 and true are not, and the order of an object's fields is no matter."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return _canonical.encode(value)
    except OverflowError:  # a whole number beyond 64 bits
        return repr(value).encode()
