"""Words, arguments and options of `c360 rights`."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

import typer

from services.cli.options import parsed_by


class Asked(StrEnum):
    ACCESS = "access"
    PORTABILITY = "portability"
    RECTIFICATION = "rectification"
    ERASURE = "erasure"
    RESTRICTION = "restriction"
    OBJECTION = "objection"


class ByLaw(StrEnum):
    GDPR = "gdpr"
    UK_GDPR = "uk-gdpr"
    CCPA = "ccpa"


class OnGround(StrEnum):
    IDENTITY_NOT_PROVEN = "identity-not-proven"
    MANIFESTLY_UNFOUNDED = "manifestly-unfounded"
    EXCESSIVE = "excessive"
    LEGAL_OBLIGATION = "legal-obligation"
    LEGAL_CLAIMS = "legal-claims"
    PUBLIC_INTEREST = "public-interest"
    FREEDOM_OF_EXPRESSION = "freedom-of-expression"
    RIGHTS_OF_OTHERS = "rights-of-others"
    RIGHT_NOT_GIVEN = "right-not-given"
    NO_DATA = "no-data"


class Found(StrEnum):
    PASSED = "passed"
    FAILED = "failed"


def day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


Request = Annotated[str, typer.Argument(metavar="REQUEST", help="The request's id, as `c360 rights open` printed it.")]
By = Annotated[str, typer.Option("--by", help="Who does it, as an id or a role. Kept for ever.")]
Reason = Annotated[str, typer.Option(help="Why, such as 'letter of 5 March'. Kept for ever: name nobody in it.")]
Told = Annotated[
    str | None,
    typer.Option(
        "--told", metavar="DAY", parser=parsed_by(day), help="When the requester was told, such as 2026-03-05. Default: today."
    ),
]


def today() -> str:
    """Where this machine is: the laws count by the days of the place."""
    return datetime.now().astimezone().date().isoformat()
