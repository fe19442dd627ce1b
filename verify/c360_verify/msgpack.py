"""Reads MessagePack (github.com/msgpack/msgpack/blob/master/spec.md) as far as events use it: all but extension types."""

import struct
from typing import Any

from c360_verify.refusal import Refused, require

NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"
}  # fmt: skip
LENGTHS = {  # tag: (kind, form of the length)
    0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"), 0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
    0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
DEEPEST = 100  # levels


def decode(data: bytes) -> Any:
    """Raises Refused."""
    try:
        value, end = _value(data, 0, 0)
    except (IndexError, struct.error, UnicodeDecodeError, TypeError):
        raise Refused("a part of an event is not MessagePack") from None
    require(end == len(data), "a part of an event has bytes behind it")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    require(depth < DEEPEST, "a part of an event is nested too deeply")
    tag, at = data[at], at + 1
    if tag in CONSTANTS:
        return CONSTANTS[tag], at
    if tag <= 0x7F or tag >= 0xE0:
        return tag if tag <= 0x7F else tag - 256, at
    if tag in NUMBERS:
        size = struct.calcsize(NUMBERS[tag])
        return struct.unpack(NUMBERS[tag], data[at : at + size])[0], at + size
    kind, length, at = _length(data, tag, at)
    if kind in ("bin", "str"):
        raw = data[at : at + length]
        if len(raw) < length:
            raise IndexError
        return (raw if kind == "bin" else raw.decode()), at + length
    items = []
    for _ in range(length * (2 if kind == "map" else 1)):
        item, at = _value(data, at, depth + 1)
        items.append(item)
    return (dict(zip(items[::2], items[1::2], strict=True)) if kind == "map" else items), at


def _length(data: bytes, tag: int, at: int) -> tuple[str, int, int]:
    """(kind, length, where the content begins)."""
    if tag <= 0x8F:
        return "map", tag & 0x0F, at
    if tag <= 0x9F:
        return "array", tag & 0x0F, at
    if tag <= 0xBF:
        return "str", tag & 0x1F, at
    kind, form = LENGTHS.get(tag, ("", ""))
    require(bool(kind), "a part of an event has a type that events don't use")
    size = struct.calcsize(form)
    return kind, struct.unpack(form, data[at : at + size])[0], at + size
