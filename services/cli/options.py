"""Arguments and options that several commands share; each is spelled and explained once."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer

from services.cli import notation
from services.cli.instants import parse_instant

T = TypeVar("T")
DEFAULT_TIMEOUT_S = 5.0
LONGEST_TIMEOUT_S = 7 * 24 * 3600.0
MOST = 2**31 - 1  # what every integer field of a request can hold


def parsed_by(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Turns what a parser says into a usage error that names the argument."""

    def parser(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return parser


def number(value: float) -> float:
    """NaN lies within every range, as it is neither below nor above."""
    if math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


def _instant(text: str) -> datetime | None:
    return parse_instant(text, datetime.now(UTC))


instant_parser = parsed_by(_instant)
position_parser = parsed_by(notation.parse_position)
identifier_parser = parsed_by(notation.parse_identifier)
pair_parser = parsed_by(notation.parse_pair)

AsJson = Annotated[bool, typer.Option("--json", help="JSON for scripts instead of tables.")]
TimeoutS = Annotated[
    float,
    typer.Option(
        "--timeout",
        min=0.001,
        max=LONGEST_TIMEOUT_S,
        callback=number,
        metavar="SECONDS",
        help="How long to wait for the answer.",
    ),
]
RequestId = Annotated[str, typer.Option("--request-id", help="Idempotency key; repeat it to repeat safely. Made up when absent.")]
PersonRef = Annotated[
    notation.Person,
    typer.Argument(
        metavar="PERSON",
        parser=parsed_by(notation.parse_person),
        help="A customer id, or namespace:value such as email:ann@example.com or user_id:u1.",
    ),
]
IdentifierRef = Annotated[
    notation.NamedIdentifier,
    typer.Argument(metavar="IDENTIFIER", parser=identifier_parser, help="namespace:value, such as email:ann@example.com."),
]
SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="The source's name; `c360 sources list` lists them.")]
PurposeOption = Annotated[
    str,
    typer.Option(
        "--purpose", "-P", metavar="NAME", help="What the data will be used for; `c360 consent purposes list` lists them."
    ),
]
PurposeArgument = Annotated[str, typer.Argument(metavar="PURPOSE", help="The purpose's name, such as marketing.")]
ValidAt = Annotated[
    datetime | None,
    typer.Option(
        metavar="INSTANT",
        parser=instant_parser,
        help="Only what had happened by then: ISO 8601 (UTC without an offset), now, or an age such as -2h. Default: now.",
    ),
]
KnownAt = Annotated[
    datetime | None,
    typer.Option(
        metavar="INSTANT",
        parser=instant_parser,
        help="Only what our log knew by then: ISO 8601 (UTC without an offset), now, or an age such as -2h. Default: now.",
    ),
]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        metavar="N",
        min=1,
        max=MOST,
        help="Instead of --known-at: as it was known once the customer's own stream had come to this version.",
    ),
]
Rules = Annotated[
    notation.RulesWanted | None,
    typer.Option(
        "--rules",
        metavar="WHICH",
        parser=parsed_by(notation.parse_rules),
        help="Those in force then (at --known-at; the default), now, or a version such as 2.",
    ),
]
AsOf = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        metavar="INSTANT",
        parser=instant_parser,
        help="Only what had happened by then: ISO 8601 (UTC without an offset), now, or an age such as -2h. Default: now.",
    ),
]
Fresh = Annotated[
    list[notation.LogPosition] | None,
    typer.Option(
        "--fresh",
        metavar="POSITION",
        parser=position_parser,
        help="Wait until this position, as a write printed it, is included. Repeatable.",
    ),
]
