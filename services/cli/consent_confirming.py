"""`c360 consent request-confirmation` and `confirm`: consent that is given in two clicks."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import typer

from services.cli import render
from services.cli.evidence import At, AttestedAge, Guardian, Method, Notice, VerifiedBy, authorisation, notice_message
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, IdentifierRef, PurposeArgument, RequestId, TimeoutS

MOST_DAYS = 90


def request_confirmation(
    identifier: IdentifierRef,
    purpose: PurposeArgument,
    *,
    days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="How long it waits for the second click.")] = 7,
    at: At = None,
    method: Method = "",
    attested_age: AttestedAge = 0,
    notice: Notice = None,
    guardian: Guardian = None,
    verified_by: VerifiedBy = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Record the first click of a double opt-in, which doesn't count yet, and print the token for the link in the e-mail.

    Example:
      c360 consent request-confirmation email:ann@example.com newsletter --method web-form --notice newsletter@1/en
    """
    from c360.consent.v1 import confirmation_pb2, confirmation_pb2_grpc, consent_pb2

    from services.cli import messages
    from services.cli.client import connect

    decision = consent_pb2.RecordDecisionRequest(
        request_id=request_id or str(uuid4()),
        identifier=messages.identifier(identifier),
        purpose=purpose,
        outcome=consent_pb2.OUTCOME_GRANTED,
        decide_time=messages.timestamp(at),
        method=method,
        attested_age=attested_age,
        notice=notice_message(notice),
        parental_authorisation=authorisation(guardian, verified_by),
    )
    request = confirmation_pb2.RequestConfirmationRequest(decision=decision, wait_days=days)
    with connect("consent") as channel:
        answer = confirmation_pb2_grpc.ConfirmationServiceStub(channel).RequestConfirmation(request, timeout=timeout_s)
    render.answer(messages.plain(answer), as_json)


def confirm(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Of the link.")],
    *,
    at: At = None,
    method: Method = "link",
    notice: Notice = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Record the second click: what waited is granted, from the next read on. A token is of use once."""
    from c360.consent.v1 import confirmation_pb2, confirmation_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = confirmation_pb2.ConfirmRequest(
        request_id=request_id or str(uuid4()),
        token=token,
        confirm_time=messages.timestamp(at),
        method=method,
        notice=notice_message(notice),
    )
    with connect("consent") as channel:
        answer = confirmation_pb2_grpc.ConfirmationServiceStub(channel).Confirm(request, timeout=timeout_s)
    render.answer(messages.plain(answer), as_json)
