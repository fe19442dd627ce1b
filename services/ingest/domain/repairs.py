"""What senders write that is nearly JSON: half of a surrogate pair (JavaScript's `slice` makes it), and NaN and Infinity (Python's
`json.dumps` writes them). RFC 8259 leaves the first to the reader and forbids the others; either would cost a batch with all that is in it.

Only what could not be decoded comes here. Halves become U+FFFD and the numbers null. Each is spelled as nobody else would spell it,
so that events still show after their batch was taken apart which of them were repaired.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from services.ingest.domain.call import Call
from shared.errors import InvalidInput

TEXT_REPAIRED: Final = "TEXT_REPAIRED"
NUMBER_NOT_FINITE: Final = "NUMBER_NOT_FINITE"
LOST: Final = "\ufffd"
LOST_MARK: Final = b"\\uFffD"
NULL_MARK: Final = b"null\t\r"  # in a text a tab would stand escaped
MAX_REPAIRS: Final = 50_000  # of a body or event; each costs two microseconds, while nobody else is answered
NOT_READ: Final = frozenset({"JSON_BROKEN", "DATA_NOT_JSON"})

# All of what is well, as much as there is, and what is not, if it comes to that. Possessive: time is linear to the length.
_HALVES = re.compile(
    rb"""(?:[^\\]++
        |\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}
        |\\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).
        )*+(\\u[dD][89a-fA-F][0-9a-fA-F]{2})?""",
    re.DOTALL | re.VERBOSE,
)
_NUMBERS = re.compile(
    rb"""(?:[^"NI-]++|"(?:[^"\\]++|\\.)*+"?|-(?!Infinity))*+(NaN|-?Infinity)?""",
    re.DOTALL | re.VERBOSE,
)


class RepairedCall(Call, frozen=True, kw_only=True):
    """`flags` say what was done to it."""

    flags: tuple[str, ...]


def repaired(raw: bytes | msgspec.Raw) -> bytes:
    """The same bytes when there is nothing of this kind in them, or more than MAX_REPAIRS."""
    return _replaced(_NUMBERS, _replaced(_HALVES, bytes(raw), LOST_MARK), NULL_MARK)


def _replaced(pattern: re.Pattern[bytes], raw: bytes, mark: bytes) -> bytes:
    parts: list[bytes] = []
    place = 0
    while (found := pattern.match(raw, place)) is not None and found.group(1) is not None:
        if len(parts) >= 2 * MAX_REPAIRS:
            return raw
        parts += (raw[place : found.start(1)], mark)
        place = found.end()
    return b"".join([*parts, raw[place:]]) if parts else raw


def flags_of(raw: bytes | msgspec.Raw) -> tuple[str, ...]:
    """Of something that was repaired."""
    plain = bytes(raw)
    found = {TEXT_REPAIRED: LOST_MARK in plain, NUMBER_NOT_FINITE: NULL_MARK in plain}
    return tuple(flag for flag, is_there in found.items() if is_there)


def repairing(read: Callable[[Any], Call]) -> Callable[[Any], Call]:
    """Reads one event, and once more when it was no JSON and can be repaired. Raises as `read`."""

    def read_repairing(raw: bytes | msgspec.Raw) -> Call:
        try:
            return read(raw)
        except InvalidInput as error:
            if error.reason not in NOT_READ or (mended := repaired(raw)) == bytes(raw):
                raise
        return read_flagged(read, mended)

    return read_repairing


def read_flagged(read: Callable[[Any], Call], raw: bytes | msgspec.Raw) -> Call:
    """An event of what was repaired. Raises as `read`."""
    call = read(raw)
    flags = flags_of(raw)
    if not flags:
        return call
    return RepairedCall(**{name: getattr(call, name) for name in Call.__struct_fields__}, flags=flags)


def is_broken(ids: Sequence[Any]) -> bool:
    """Whether half a pair was in one of these: different ids would become the same, and so different events, or different people."""
    return any(map(_is_broken, ids))


def _is_broken(value: Any) -> bool:
    if isinstance(value, str):
        return LOST in value
    return isinstance(value, list | tuple) and any(map(_is_broken, value))
