"""What stands behind the question mark. A parameter that isn't known is refused: to leave `valid_at` out because it was
misspelt would answer with another day's data.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from services.profile.choosing import THEN, RulesChoice
from shared.errors import InvalidInput
from shared.instants import EPOCH, from_iso
from shared.positions import progress_name

COMMON: Final = frozenset({"valid_at", "known_at", "version", "at_least_as_fresh"})
KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "traits": COMMON | {"class", "include", "limit", "next", "rules", "verbose"},
    "external_ids": COMMON | {"include", "limit", "next", "verbose"},
    "events": COMMON | {"start", "end", "include", "exclude", "limit", "next", "sort"},
    "metadata": COMMON | {"rules", "verbose"},
}
SAYS_WHICH_PAGE: Final = ("limit", "next")
REPEATABLE: Final = "at_least_as_fresh"
MAX_PARAMETERS: Final = 300  # as many positions as there may be partitions, and the rest
MAX_NAMES: Final = 200  # in `include` and `exclude`
MAX_NUMBER: Final = 2**63 - 1
RFC3339: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)
POSITION: Final = re.compile(r"([a-z]{1,16})/([0-9]{1,3})/([0-9]{1,19})")
RESOLUTION: Final = timedelta(microseconds=1)


class Query(msgspec.Struct, frozen=True):
    """The parameters of one request, of which none is repeated but positions."""

    values: Mapping[str, str]
    positions: Sequence[str]

    def __repr__(self) -> str:
        return f"<Query {' '.join(sorted(self.values))} sealed>"

    def instant(self, name: str) -> int | None:
        """Microseconds since 1970. Without an offset it is refused: guessed wrong, it would answer with another hour's data.

        Raises InvalidInput (INSTANT_INVALID).
        """
        if (text := self.values.get(name)) is None:
            return None
        text = text.upper().replace(" ", "+")  # an offset's plus that wasn't encoded
        try:
            if RFC3339.fullmatch(text):
                return from_iso(text)
        except (ValueError, OverflowError):
            pass
        raise InvalidInput(
            f"{name} is an instant with its offset from UTC (RFC 3339), such as 2026-03-03T10:02:11Z or 2026-03-03T11:02:11+01:00",
            reason="INSTANT_INVALID",
        )

    def flag(self, name: str) -> bool:
        """Raises InvalidInput (PARAMETER_INVALID)."""
        return self.choice(name, ("false", "true")) == "true"

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """The first that is allowed when it isn't given. Raises InvalidInput (PARAMETER_INVALID)."""
        if (text := self.values.get(name, allowed[0])) not in allowed:
            raise InvalidInput(f"{name} is one of: {', '.join(filter(None, allowed))}", reason="PARAMETER_INVALID")
        return text

    def limit(self, default: int, most: int) -> int:
        """Raises InvalidInput (LIMIT_INVALID)."""
        text = self.values.get("limit", str(default))
        if not re.fullmatch("[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= most:
            raise InvalidInput(f"limit is a whole number from 1 to {most}", reason="LIMIT_INVALID", limit=most)
        return int(text)

    def names(self, name: str) -> frozenset[str] | None:
        """Of a list with commas; None when it has none. Raises InvalidInput (TOO_MANY_NAMES)."""
        found = frozenset(word for word in self.values.get(name, "").split(",") if word)
        if len(found) > MAX_NAMES:
            raise InvalidInput(f"{name} names at most {MAX_NAMES}", reason="TOO_MANY_NAMES", limit=MAX_NAMES)
        return found or None

    def version(self) -> int:
        """0 when it isn't given. Raises InvalidInput (PARAMETER_INVALID, INSTANT_AMBIGUOUS)."""
        if (text := self.values.get("version")) is None:
            return 0
        if not re.fullmatch("[1-9][0-9]{0,17}", text, re.ASCII):
            raise InvalidInput("version is a whole number from 1", reason="PARAMETER_INVALID")
        if "known_at" in self.values:
            raise InvalidInput("give known_at or version, not both", reason="INSTANT_AMBIGUOUS")
        return int(text)

    def rules(self) -> RulesChoice:
        """Raises InvalidInput (PARAMETER_INVALID)."""
        text = self.values.get("rules", THEN)
        if re.fullmatch("[1-9][0-9]{0,8}", text, re.ASCII):
            return int(text)
        return "now" if self.choice("rules", (THEN, "now")) == "now" else THEN

    def fresh(self) -> list[tuple[str, int]]:
        """(name in Progress, number). Raises InvalidInput (POSITION_INVALID)."""
        return [_position(text) for value in self.positions for text in value.split(",")]

    def of_next_page(self, token: str) -> str:
        """The same question, for what comes after."""
        return urlencode({**self.values, "next": token})

    def of_any_page(self, part: str, purpose: str) -> bytes:
        """What is asked of a part, for whatever page of it."""
        asked = sorted((name, value) for name, value in self.values.items() if name not in SAYS_WHICH_PAGE)
        return urlencode([("part", part), ("purpose", purpose), *asked]).encode()


def query_of(query_string: bytes, part: str) -> Query:
    """Raises InvalidInput (QUERY_INVALID, PARAMETER_UNKNOWN, PARAMETER_REPEATED)."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise InvalidInput(
            f"a query is UTF-8, percent-encoded, at most {MAX_PARAMETERS} parameters", reason="QUERY_INVALID"
        ) from None
    if any(name not in KNOWN[part] for name, _ in pairs):
        raise InvalidInput(f"{part} knows the parameters {', '.join(sorted(KNOWN[part]))}", reason="PARAMETER_UNKNOWN")
    values = {name: value for name, value in pairs if name != REPEATABLE}
    positions = [value for name, value in pairs if name == REPEATABLE]
    if len(values) + len(positions) < len(pairs):
        raise InvalidInput("a parameter is given more than once", reason="PARAMETER_REPEATED")
    return Query(values, positions)


def rfc3339(instant: int) -> str:
    """To the microsecond, so that it can be given back as `valid_at` or `known_at`."""
    moment = EPOCH + instant * RESOLUTION
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _position(text: str) -> tuple[str, int]:
    found = POSITION.fullmatch(text)
    if found is None or int(found[3]) > MAX_NUMBER:
        raise InvalidInput("a position is log/partition/number, as a write answers it: ingest/0/42", reason="POSITION_INVALID")
    return progress_name(found[1], int(found[2])), int(found[3])
