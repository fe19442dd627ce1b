"""Values that a purpose sees less of than there is: a part, a token, or what many have in common. Pure.

What can't be masked in its way isn't shown.
"""

import base64
import hashlib
import hmac
import math
import re
from typing import Any, Final

import msgspec

from shared.errors import InvalidInput
from shared.events.consent import MaskClass
from shared.identifiers import normalise

HIDDEN: Final = "***"
SHORTEST: Final = 4  # characters of which something is left: of less, a part tells all
LEFT_OF_NUMBERS: Final = 2  # the last digits of a telephone or account number
TOP_LEVEL: Final = re.compile(r"[A-Za-z]{2,12}")  # anything else behind the last dot may be what is to be hidden
PHONE: Final = re.compile(r"\+?[0-9 ()/.\-]{7,}")
DATE: Final = re.compile(r"([0-9]{4})-[0-9]{2}-[0-9]{2}([T ].*)?", re.DOTALL)
POSTCODE: Final = re.compile(r"(?=.*[0-9])[A-Za-z0-9][A-Za-z0-9 \-]{2,8}[A-Za-z0-9]")
LEFT_OF_POSTCODES: Final = 2
TOKEN_BYTES: Final = 15
LARGEST: Final = 10**15  # of numbers that are told as ranges


def masked(how: MaskClass, field: str, value: Any, purpose: str, key: bytes) -> Any:
    """None: not even so. `key` is the installation's; without one there are no tokens."""
    match how:
        case "partial":
            return partial(value)
        case "generalised":
            return generalised(value)
        case "tokenised":
            return tokenised(field, value, purpose, key) if key else None
        case "absent":
            return None


def partial(value: Any) -> str | None:
    """j***@e***.com of a mailbox, ***89 of a telephone number, A*** of a text."""
    if not isinstance(value, str):
        return None
    local, at, host = value.rpartition("@")
    if at and local and "." in host:
        label, _, rest = host.rpartition(".")
        shown = f"{_first(local)}@{_first(label)}.{rest if TOP_LEVEL.fullmatch(rest) else HIDDEN}"
    elif PHONE.fullmatch(value) and sum(map(str.isdigit, value)) >= SHORTEST + LEFT_OF_NUMBERS:
        shown = HIDDEN + "".join(filter(str.isdigit, value))[-LEFT_OF_NUMBERS:]
    else:
        shown = _first(value)
    return None if value in shown else shown


def tokenised(field: str, value: Any, purpose: str, key: bytes) -> str:
    """The same of equal values, within a purpose; those of two purposes tell nothing of one another."""
    said = b"\0".join((purpose.encode(), msgspec.json.encode(_standard(field, value), order="sorted")))
    digest = hmac.digest(key, said, hashlib.sha256)[:TOKEN_BYTES]
    return f"tok_{base64.b32encode(digest).decode().lower()}"


def generalised(value: Any) -> str | None:
    """The year of a date, the range of a number, the region of a postcode."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _range(value)
    if not isinstance(value, str):
        return None
    if date := DATE.fullmatch(value):
        return date[1]
    return value[:LEFT_OF_POSTCODES].upper() + HIDDEN if POSTCODE.fullmatch(value) else None


def _first(text: str) -> str:
    return (text[0] if len(text) >= SHORTEST else "") + HIDDEN


def _range(number: float) -> str | None:
    """As many numbers as the first digit leaves open, ten at least."""
    if not math.isfinite(number) or abs(number) >= LARGEST:
        return None
    whole = math.floor(abs(number))
    width = 10 ** max(1, len(str(whole)) - 1)
    low = whole // width * width
    return f"-{low + width - 1} to -{low}" if number < 0 else f"{low} to {low + width - 1}"


def _standard(field: str, value: Any) -> Any:
    """As identifiers are compared, where it is one: a mailbox is the same however it is written."""
    try:
        return normalise(field, value).value if isinstance(value, str) else value
    except InvalidInput:
        return value
