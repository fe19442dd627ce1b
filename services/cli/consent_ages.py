"""`c360 consent age` and `correct-age`: how old people are known to be."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import uuid4

import typer

from services.cli import render
from services.cli.evidence import OLDEST, Method, Proof, hash_of
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, IdentifierRef, RequestId, TimeoutS, instant_parser
from services.cli.rights_words import By, Reason

AtLeast = Annotated[
    int, typer.Option("--at-least", min=0, max=OLDEST, metavar="YEARS", help="And so old at least: of a twelve-year-old 12.")
]
At = Annotated[
    datetime | None,
    typer.Option(
        metavar="INSTANT",
        parser=instant_parser,
        help="When they were so old: ISO 8601 (UTC without an offset) or an age such as -2h. Default: now.",
    ),
]


def age(
    identifier: IdentifierRef,
    *,
    under: Annotated[
        int, typer.Option("--under", min=1, max=OLDEST, metavar="YEARS", help="They are younger: of a twelve-year-old 13.")
    ],
    at_least: AtLeast = 0,
    at: At = None,
    method: Method = "",
    proof: Proof = None,
    by: By,
    reason: Reason,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Record how old a person is known to be: purposes that ask for an age go by it, from the next read on, until time makes them old enough.

    Example:
      c360 consent age email:ann@example.com --under 16 --at-least 13 --by shop --reason "said so at sign-up"
    """
    from c360.consent.v1 import age_pb2, age_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = age_pb2.RecordAgeRequest(
        request_id=request_id or str(uuid4()),
        identifier=messages.identifier(identifier),
        under=under,
        at_least=at_least,
        age_time=messages.timestamp(at),
        method=method,
        proof_sha256=hash_of(proof) if proof else "",
        recorded_by=by,
        reason=reason,
    )
    with connect("consent") as channel:
        answer = age_pb2_grpc.AgeServiceStub(channel).RecordAge(request, timeout=timeout_s)
    render.answer(messages.plain(answer), as_json)


def correct_age(
    wrong: Annotated[str, typer.Argument(metavar="AGE", help="Its id, as `age` or `decisions` printed it.")],
    *,
    under: Annotated[
        int, typer.Option("--under", min=0, max=OLDEST, metavar="YEARS", help="They are younger; 0: nobody knows how old they are.")
    ] = 0,
    at_least: AtLeast = 0,
    at: At = None,
    method: Method = "",
    proof: Proof = None,
    by: By,
    reason: Reason,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Correct an age, or take it back. What else was said of the same person holds on.

    Example:
      c360 consent correct-age 019f... --by desk --reason "an adult, by passport" --method id-check
    """
    from c360.consent.v1 import age_pb2, age_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = age_pb2.CorrectAgeRequest(
        request_id=request_id or str(uuid4()),
        age_id=wrong,
        under=under,
        at_least=at_least,
        age_time=messages.timestamp(at),
        method=method,
        proof_sha256=hash_of(proof) if proof else "",
        recorded_by=by,
        reason=reason,
    )
    with connect("consent") as channel:
        answer = age_pb2_grpc.AgeServiceStub(channel).CorrectAge(request, timeout=timeout_s)
    render.answer(messages.plain(answer), as_json)
