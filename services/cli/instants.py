"""Instants as people write them and as tables show them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_RELATIVE = re.compile(r"-(?:\d+[wdhms])+")
_EXPECTED = "write ISO 8601 (2026-03-03T10:02:11Z; UTC without an offset), now, or an age such as -2h or -1d12h"


def parse_instant(text: str, now: datetime) -> datetime | None:
    """None is "now": the service's clock decides, so that a client's fast clock never asks about the future."""
    text = text.strip()
    if text.lower() == "now":
        return None
    try:
        if _RELATIVE.fullmatch(text):
            return now - _age(text)
        return parse_iso(text)
    except (ValueError, OverflowError):
        raise ValueError(_EXPECTED) from None


def parse_iso(text: str) -> datetime:
    """Raises ValueError, or OverflowError at the ends of time."""
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def parse_age(text: str) -> timedelta:
    """Such as 1h or 1d12h. Raises ValueError."""
    try:
        if _RELATIVE.fullmatch(f"-{text}"):
            return _age(text)
    except OverflowError:
        pass
    raise ValueError("write a time such as 1h, 7d or 1d12h")


def _age(text: str) -> timedelta:
    parts = re.findall(r"(\d+)([wdhms])", text)
    return sum((timedelta(**{_UNITS[unit]: int(count)}) for count, unit in parts), timedelta())


def format_instant(instant: datetime) -> str:
    """To the microsecond where there are any: a shown instant can be given back to --known-at and finds the same."""
    precision = "microseconds" if instant.microsecond else "seconds"
    return instant.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
