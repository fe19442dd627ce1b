"""Options of a decision: when and how it was captured, what was shown, and what proves it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli.errors import Misused
from services.cli.notation import NamedIdentifier, NamedNotice, parse_notice
from services.cli.options import identifier_parser, instant_parser, parsed_by

if TYPE_CHECKING:
    from c360.consent.v1 import consent_pb2

OLDEST: Final = 150  # years

At = Annotated[
    datetime | None,
    typer.Option(
        metavar="INSTANT",
        parser=instant_parser,
        help="When the person decided: ISO 8601 (UTC without an offset) or an age such as -2h. Default: now.",
    ),
]
Method = Annotated[str, typer.Option(help="How it was captured, such as web-form or call-centre.")]
Confirmed = Annotated[bool, typer.Option("--confirmed", help="Confirmed from the identifier itself (double opt-in).")]

AttestedAge = Annotated[
    int,
    typer.Option(min=0, max=OLDEST, metavar="YEARS", help="The person is at least so old, as you attest; 0: nothing is attested."),
]
Notice = Annotated[
    NamedNotice | None,
    typer.Option(
        "--notice",
        metavar="NAME@VERSION/LOCALE",
        parser=parsed_by(parse_notice),
        help="What they were shown, such as marketing_consent@1/en; `c360 consent notices list` lists them.",
    ),
]
Proof = Annotated[
    Path | None,
    typer.Option("--proof", metavar="FILE", help="What proves it, such as the signed form. Its SHA-256 is kept; keep the file."),
]
Guardian = Annotated[
    NamedIdentifier | None,
    typer.Option(
        "--guardian",
        metavar="NAMESPACE:VALUE",
        parser=identifier_parser,
        help="Of a grant for a child: who is responsible for it and granted or authorised that.",
    ),
]
VerifiedBy = Annotated[
    str, typer.Option(help="By what it was verified that they are responsible, such as 'signed form'. With --guardian.")
]


def hash_of(proof: Path) -> str:
    """Raises Misused (FILE_UNREADABLE)."""
    try:
        with proof.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Misused("FILE_UNREADABLE", f"{proof}: {error.strerror}") from None


def notice_words(notice: dict[str, Any] | None) -> str:
    return f"{notice['name']}@{notice['version']}/{notice['locale']}" if notice else ""


def age_words(age: dict[str, Any] | None) -> str:
    """In years; empty: nothing is said."""
    if not age or not age["under"]:
        return ""
    return f"{age['at_least']} to {age['under'] - 1}"


def notice_message(notice: NamedNotice | None) -> consent_pb2.NoticeShown | None:
    from c360.consent.v1 import consent_pb2

    return consent_pb2.NoticeShown(name=notice.name, version=notice.version, locale=notice.locale) if notice else None


def authorisation(guardian: NamedIdentifier | None, verified_by: str) -> consent_pb2.ParentalAuthorisation | None:
    """Raises Misused (GUARDIAN_MISSING)."""
    from c360.consent.v1 import consent_pb2

    from services.cli import messages

    if guardian is None:
        if verified_by:
            raise Misused("GUARDIAN_MISSING", "--verified-by says how --guardian was verified: name both")
        return None
    return consent_pb2.ParentalAuthorisation(guardian=messages.identifier(guardian), verified_by=verified_by)
