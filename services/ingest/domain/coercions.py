"""From what a source sends to one form of each kind of value. A coercion never raises and undoes nothing: coerced twice is
coerced once, and what it can't read is FAILED.

Instants are ISO 8601 in UTC, dates ISO 8601, countries ISO 3166-1 alpha-2, currencies ISO 4217, phone numbers E.164.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from services.ingest.domain.codes import countries, currencies, folded
from shared.errors import InvalidInput
from shared.identifiers import normalise
from shared.instants import EPOCH

FAILED: Final = object()
EXACT_INTEGER_AT_MOST: Final = 2**53  # profiles serve numbers as doubles
MAX_TEXT: Final = 512  # characters that a coerced value may have; a longer one is not of these kinds
MAX_MARKS: Final = 30
CACHED_VALUES: Final = 16_384  # of each kind, about 200 bytes each
MILLISECONDS_FROM: Final = 10**11  # as seconds that is the year 5138: a larger number counts milliseconds

Coerce = Callable[[Any], Any]

_NUMBERS: Final = {
    ".": re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII),
    ",": re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)?(,\d+)?", re.ASCII),
}
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
# What needs none of the care of the library: its result for these is the address itself in lower case (a test compares them).
_PLAIN_EMAIL: Final = re.compile(
    r"[a-z0-9_+\-]+(\.[a-z0-9_+\-]+)*@([a-z0-9]+(-[a-z0-9]+)*\.){1,3}(com|net|org|de|fr|it|es|nl|eu|uk|at|ch|io|info|edu|gov)"
)
_PLAIN_EMAIL_MAX: Final = 64  # characters; no part of it can be too long then


def text(value: Any) -> Any:
    """Without the spaces around it, in the composed Unicode form; a number becomes its digits."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or _is_huge(value):
        return FAILED
    if not isinstance(value, str):
        return str(value)
    if not _needs_care(value):
        return value
    if _is_piled(value):
        return FAILED
    found = unicodedata.normalize("NFC", value).strip()
    return FAILED if _is_piled(found) else found


def _is_huge(value: Any) -> bool:
    """Whole numbers have digits without end; Python writes only so many, and no double holds them."""
    return isinstance(value, int) and value.bit_length() > MAX_TEXT


def lower(value: Any) -> Any:
    found = text(value)
    return FAILED if found is FAILED else text(found.casefold())


def _needs_care(value: str) -> bool:
    return not value.isascii() or value != value.strip()


def _is_piled(value: str) -> bool:
    """Long, with more combining marks on a letter than any language has (30, says UAX 15): normalising it would take seconds."""
    if len(value) <= MAX_TEXT:
        return False
    marks = 0
    for char in value:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks > MAX_MARKS:
            return True
    return False


def number(value: Any, decimal: str = ".") -> Any:
    """From text too: "1,234.50", or "1.234,50" where the decimal sign is a comma. A whole number stays whole."""
    if isinstance(value, bool):
        return FAILED
    if isinstance(value, str):
        value = _number_of(value.strip(), decimal)
    if isinstance(value, float):
        if not math.isfinite(value):
            return FAILED
        return int(value) if value.is_integer() and abs(value) <= EXACT_INTEGER_AT_MOST else value
    return value if isinstance(value, int) and abs(value) <= EXACT_INTEGER_AT_MOST else FAILED


def _number_of(digits: str, decimal: str) -> Any:
    if not digits or len(digits) > 64 or not digits[-1].isdigit() or not _NUMBERS[decimal].fullmatch(digits):
        return FAILED
    thousands = "," if decimal == "." else "."
    plain = digits.replace(thousands, "").replace(decimal, ".")
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        return float(plain)
    except ValueError:
        return FAILED


def integer(value: Any, decimal: str = ".") -> Any:
    found = number(value, decimal)
    return found if isinstance(found, int) else FAILED


def boolean(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    return _BOOLEANS.get(value.strip().lower(), FAILED) if isinstance(value, str) and len(value) <= MAX_TEXT else FAILED


def enumeration(values: Mapping[str, str]) -> Coerce:
    """`values` leads from every folded spelling to its value."""
    return _coded(values)


def calendar_date(formats: Sequence[str]) -> Coerce:
    """ISO 8601 first, then `formats` (as of strptime) in their order. Of an instant the date in its own offset."""

    @lru_cache(maxsize=CACHED_VALUES)
    def parse(given: str) -> Any:
        found = _moment(given, formats)
        return FAILED if found is None else found.date().isoformat()

    return lambda value: parse(value) if isinstance(value, str) and len(value) <= MAX_TEXT else FAILED


def instant(formats: Sequence[str]) -> Coerce:
    """As `calendar_date`; without an offset it is UTC. A number counts seconds since 1970, or milliseconds when it is large."""

    @lru_cache(maxsize=CACHED_VALUES)
    def parse(given: str) -> Any:
        found = _moment(given, formats)
        if found is None:
            return FAILED
        try:
            return _iso(found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))
        except OverflowError:
            return FAILED

    def coerce(value: Any) -> Any:
        if isinstance(value, str):
            return parse(value) if len(value) <= MAX_TEXT else FAILED
        return _of_number(value)

    return coerce


def _moment(given: str, formats: Sequence[str]) -> datetime | None:
    given = given.strip()
    try:
        return datetime.fromisoformat(given)
    except ValueError:
        pass
    for form in formats:
        try:
            return datetime.strptime(given, form)  # noqa: DTZ007
        except ValueError:
            continue
    return None


def _of_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or _is_huge(value) or not math.isfinite(value):
        return FAILED
    try:
        return _iso(EPOCH + timedelta(milliseconds=value) if abs(value) >= MILLISECONDS_FROM else EPOCH + timedelta(seconds=value))
    except OverflowError:
        return FAILED


def _iso(found: datetime) -> str:
    return found.isoformat().replace("+00:00", "Z")


def is_format(form: str) -> bool:
    """Whether strptime understands it; and it must name a whole date."""
    try:
        return datetime.strptime(date(2001, 2, 3).strftime(form), form).date() == date(2001, 2, 3)  # noqa: DTZ007
    except (ValueError, re.error):  # the latter for a directive that stands there twice
        return False


def email(value: Any) -> Any:
    """The normal form that identity knows people by."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return FAILED
    plain = value.lower()
    if len(plain) <= _PLAIN_EMAIL_MAX and _PLAIN_EMAIL.fullmatch(plain) and plain != "test@test.com":
        return plain
    return _identifier("email", value, None)


def phone(region: str) -> Coerce:
    """`region` (ISO 3166) completes numbers without a country code, and whole numbers; without a region they are FAILED."""

    def coerce(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and not _is_huge(value):
            value = str(value)
        return _identifier("phone", value, region or None) if isinstance(value, str) and len(value) <= MAX_TEXT else FAILED

    return coerce


@lru_cache(maxsize=CACHED_VALUES)
def _identifier(namespace: str, value: str, region: str | None) -> Any:
    try:
        return normalise(namespace, value, region).value
    except InvalidInput:
        return FAILED


def country(languages: Sequence[str]) -> Coerce:
    """Codes of two letters, three letters or three digits, and names in these languages."""
    return _coded(countries(tuple(languages)))


def currency(languages: Sequence[str]) -> Coerce:
    """Codes, names in these languages, and symbols that mean one currency."""
    return _coded(currencies(tuple(languages)))


def _coded(codes: Mapping[str, str]) -> Coerce:
    @lru_cache(maxsize=CACHED_VALUES)
    def find(name: str) -> Any:
        return codes.get(folded(name), FAILED)

    def coerce(value: Any) -> Any:
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            return FAILED
        return codes.get(value) or find(value)

    return coerce
