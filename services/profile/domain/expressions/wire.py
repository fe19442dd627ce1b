"""Protobuf's wire form, as far as a checked syntax tree needs it: varints and length-delimited fields.

The tree comes from the compiler as bytes. Its schema is public (google/cel-spec, `cel/expr/checked.proto` and `syntax.proto`), but
no package that is at hand has its classes.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SHORT = [bytes([value]) for value in range(0x80)]
_SIZES = {FIXED64: 8, FIXED32: 4}


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, content) in the order they stand: an int for varints, bytes for the others."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        size = _SIZES.get(kind, 0)
        if kind == BYTES:
            size, at = _varint(data, at)
        yield tag >> 3, data[at : at + size]
        at += size


def messages(data: bytes, number: int) -> list[bytes]:
    """The contents of all fields of this number that are messages, texts or bytes."""
    return [content for found, content in fields(data) if found == number and isinstance(content, bytes)]


def message(data: bytes, number: int) -> bytes:
    """The last of `messages`, as protobuf has it for a field that stands once; empty without one."""
    return (messages(data, number) or [b""])[-1]


def number_in(data: bytes, number: int) -> int:
    return next((content for found, content in fields(data) if found == number and isinstance(content, int)), 0)


def framed(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _as_varint(number << 3 | BYTES) + _as_varint(len(content)) + content


def counted(number: int, content: int) -> bytes:
    """A varint field."""
    return _as_varint(number << 3) + _as_varint(content)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    if (value := data[at]) < 0x80:  # nearly always
        return value, at + 1
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _as_varint(value: int) -> bytes:
    if value < 0x80:
        return _SHORT[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
