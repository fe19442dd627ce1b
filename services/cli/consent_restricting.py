"""`c360 consent restrict` and `lift`: the restriction of processing (GDPR Art. 18)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import uuid4

import typer

from services.cli import render
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, IdentifierRef, RequestId, TimeoutS, instant_parser
from services.cli.rights_words import By, Reason

At = Annotated[
    datetime | None,
    typer.Option(
        metavar="INSTANT",
        parser=instant_parser,
        help="From when on: ISO 8601 (UTC without an offset) or an age such as -2h. Default: now.",
    ),
]


class Ground(StrEnum):
    ACCURACY_CONTESTED = "accuracy-contested"
    UNLAWFUL_PROCESSING = "unlawful-processing"
    LEGAL_CLAIMS = "legal-claims"
    OBJECTION_PENDING = "objection-pending"


def restrict(
    identifier: IdentifierRef,
    *,
    grounds: Annotated[list[Ground], typer.Option("--ground", help="Of GDPR Art. 18(1). Repeatable.")],
    by: By,
    reason: Reason,
    at: At = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Restrict the processing of what is known of a person: nothing is read for any purpose, but those that go on in spite of it.

    What is known stays stored, and events are taken. It holds until `lift`.

    Example:
      c360 consent restrict email:ann@example.com --ground accuracy-contested --by desk --reason "ticket 12"
    """
    from services.cli import messages

    identified = messages.identifier(identifier)
    answer = restrict_processing(request_id or str(uuid4()), identified, grounds, by, reason, timeout_s, messages.timestamp(at))
    render.answer(messages.plain(answer), as_json)


def restrict_processing(
    request_id: str, identifier: Any, grounds: list[Ground], by: str, reason: str, timeout_s: float, at: Any = None
) -> Any:
    from c360.consent.v1 import restriction_pb2, restriction_pb2_grpc

    from services.cli.client import connect

    request = restriction_pb2.RestrictProcessingRequest(
        request_id=request_id,
        identifier=identifier,
        grounds=[restriction_pb2.RestrictionGround.Value(f"RESTRICTION_GROUND_{one.name}") for one in grounds],
        restrict_time=at,
        restricted_by=by,
        reason=reason,
    )
    with connect("consent") as channel:
        return restriction_pb2_grpc.RestrictionServiceStub(channel).RestrictProcessing(request, timeout=timeout_s)


def lift(
    restriction: Annotated[str, typer.Argument(metavar="RESTRICTION", help="Its id, as `restrict` or `decisions` printed it.")],
    *,
    told_at: Annotated[
        datetime,
        typer.Option(
            "--told-at",
            metavar="INSTANT",
            parser=instant_parser,
            help="When the person was told that it will be lifted: ISO 8601 (UTC without an offset) or an age such as -1d.",
        ),
    ],
    by: By,
    reason: Reason,
    at: At = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Lift a restriction, after the person was told (GDPR Art. 18(3)). Others of the same person hold on.

    Example:
      c360 consent lift 019f... --told-at -1d --by desk --reason "the address was verified"
    """
    from c360.consent.v1 import restriction_pb2, restriction_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = restriction_pb2.LiftRestrictionRequest(
        request_id=request_id or str(uuid4()),
        restriction_id=restriction,
        tell_time=messages.timestamp(told_at),
        lift_time=messages.timestamp(at),
        lifted_by=by,
        reason=reason,
    )
    with connect("consent") as channel:
        answer = restriction_pb2_grpc.RestrictionServiceStub(channel).LiftRestriction(request, timeout=timeout_s)
    render.answer(messages.plain(answer), as_json)
