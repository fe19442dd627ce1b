"""How people name things on the command line: persons, positions, and name=value pairs."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

_NAMESPACE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
EXACT_INTEGER_AT_MOST = 2**53  # the services keep numbers as doubles; beyond this they would lose digits


class Person:
    """Who is meant: a NamedIdentifier or a NamedCustomer."""


@dataclass(frozen=True)
class NamedIdentifier(Person):
    namespace: str
    value: str

    def __repr__(self) -> str:  # the value is personal data and must not print by accident
        return f"NamedIdentifier({self.namespace!r})"


@dataclass(frozen=True)
class NamedCustomer(Person):
    customer_id: str


@dataclass(frozen=True)
class LogPosition:
    log: str
    partition: int
    number: int

    def __str__(self) -> str:
        return f"{self.log}/{self.partition}/{self.number}"


@dataclass(frozen=True)
class NamedNotice:
    name: str
    version: int
    locale: str


@dataclass(frozen=True)
class RulesWanted:
    """By which rules of profiles: a version, those in force now, or those in force then."""

    version: int = 0
    now: bool = False


@dataclass(frozen=True)
class Pair:
    name: str
    value: Any


def parse_person(text: str) -> Person:
    try:
        return NamedCustomer(str(UUID(text)))
    except ValueError:
        return parse_identifier(text)


def parse_rules(text: str) -> RulesWanted:
    if text in ("then", "now"):
        return RulesWanted(now=text == "now")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ValueError("write then, now, or a version of the rules such as 2")
    return RulesWanted(version=int(text))


def parse_notice(text: str) -> NamedNotice:
    match = re.fullmatch(r"([a-z0-9_]{1,64})@([1-9][0-9]{0,8})/([A-Za-z0-9-]{1,20})", text)
    if match is None:
        raise ValueError("write name@version/locale, such as marketing_consent@1/en")
    return NamedNotice(match[1], int(match[2]), match[3])


def parse_identifier(text: str) -> NamedIdentifier:
    namespace, colon, value = text.partition(":")
    if not colon or not _NAMESPACE.fullmatch(namespace) or not value.strip():
        raise ValueError("write namespace:value, such as email:ann@example.com or user_id:u1")
    return NamedIdentifier(namespace, value.strip())


def parse_position(text: str) -> LogPosition:
    match = re.fullmatch(r"([a-z_]+)/(\d{1,9})/(\d{1,19})", text.strip())
    if match is None:
        raise ValueError("write log/partition/number, such as ingest/0/42")
    return LogPosition(match[1], int(match[2]), int(match[3]))


def parse_pair(text: str) -> Pair:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError("write name=value, such as total=12.5")
    return Pair(name.strip(), parse_value(value))


def parse_value(text: str) -> Any:
    """JSON where it is JSON (12.5, true, null, "1010", {...}), else the text itself."""
    try:
        return keep_digits(json.loads(text, parse_constant=_not_json), text)
    except ValueError:
        return text


def keep_digits(value: Any, text: str | None = None) -> Any:
    """Numbers that a double cannot hold stay text, digit for digit."""
    if isinstance(value, dict):
        return {name: keep_digits(item) for name, item in value.items()}
    if isinstance(value, list):
        return [keep_digits(item) for item in value]
    too_large = isinstance(value, int) and abs(value) > EXACT_INTEGER_AT_MOST
    if too_large or (isinstance(value, float) and not math.isfinite(value)):
        return str(value) if text is None else text
    return value


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
