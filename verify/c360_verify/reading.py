"""Reads a bundle strictly: the one text of its content, every field there and of its type, and no other."""

import base64
import json
import uuid
from typing import Any

from c360_verify.refusal import Refused, require

FORMAT = "customer360 evidence, version 1"
LARGEST = 2**63 - 1
FIELDS: dict[str, dict[str, type]] = {
    "bundle": {"format": str, "customer": str, "public_key": str, "partitions": list, "data_keys": dict},
    "partition": {"checkpoint": str, "streams": list},
    "stream": {"head": str, "events": list},
    "event": {
        "position": int,
        "version": int,
        "event_id": str,
        "type": str,
        "schema_version": int,
        "recorded_us": int,
        "occurred_us": int,
        "header": str,
        "envelope": str,
        "proof": list,
    },
}


def parse(data: bytes) -> dict[str, Any]:
    """Raises Refused."""
    try:
        content = json.loads(data)
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n"
    except (ValueError, RecursionError):
        raise Refused("it is not JSON") from None
    bundle = checked(content, "bundle")
    require(bundle["format"] == FORMAT, f"its format is not {FORMAT!r}")
    require(text.encode() == data, "it is not in canonical form: something was changed that has no meaning, or stands there twice")
    return bundle


def checked(value: Any, kind: str) -> dict[str, Any]:
    """A `bundle`, `partition`, `stream` or `event`."""
    fields = FIELDS[kind]
    require(isinstance(value, dict) and value.keys() == fields.keys(), f"a {kind} has other fields than {', '.join(fields)}")
    for name, expected in fields.items():
        require(type(value[name]) is expected, f"{name} of a {kind} is not of type {expected.__name__}")
        if expected is int:
            require(-LARGEST <= value[name] <= LARGEST, f"{name} of a {kind} is too large")
    found: dict[str, Any] = value
    return found


def as_bytes(text: Any, what: str) -> bytes:
    """From base64, of which only the one spelling counts."""
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise Refused(f"{what} is not base64") from None
    require(base64.b64encode(data).decode() == text, f"{what} is not base64 as it is written")
    return data


def as_id(text: Any, what: str) -> bytes:
    try:
        found = uuid.UUID(text)
    except (AttributeError, TypeError, ValueError):
        raise Refused(f"{what} is not a UUID") from None
    require(str(found) == text, f"{what} is not a UUID as it is written")
    return found.bytes


def as_number(text: str, what: str) -> int:
    require(text.isascii() and text.isdigit() and str(int(text[:20])) == text, f"{what} is not a number as it is written")
    return int(text)
