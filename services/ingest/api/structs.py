"""protobuf's Struct as plain values."""

import math
from typing import Any, Final

from google.protobuf.struct_pb2 import Struct, Value

from services.ingest.domain.call import MAX_DEPTH, too_deep
from shared.errors import InvalidInput

EXACT_INTEGER_AT_MOST: Final = 2**53  # beyond it a double skips whole numbers


def to_dict(struct: Struct, depth: int = 1) -> dict[str, Any]:
    """Raises InvalidInput (EVENT_TOO_DEEP, EVENT_INVALID)."""
    if depth > MAX_DEPTH:
        raise too_deep()
    return {name: _to_value(value, depth) for name, value in struct.fields.items()}


def _to_value(value: Value, depth: int) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return _to_number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return to_dict(value.struct_value, depth + 1)
        case "list_value":
            if depth >= MAX_DEPTH:
                raise too_deep()
            return [_to_value(item, depth + 1) for item in value.list_value.values]
        case _:
            return None


def _to_number(number: float) -> int | float:
    """Whole numbers become whole again, as JSON has them."""
    if not math.isfinite(number):
        raise InvalidInput("a number is finite", reason="EVENT_INVALID")
    return int(number) if number.is_integer() and abs(number) <= EXACT_INTEGER_AT_MOST else number
