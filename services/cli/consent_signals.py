"""`c360 consent signal` and `signals`: what browsers, consent platforms and phones said, in formats of their own."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any
from uuid import uuid4

import typer

from services.cli import paging, render
from services.cli.errors import NotReachable
from services.cli.evidence import At, Method
from services.cli.notation import NamedIdentifier
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, IdentifierRef, RequestId, TimeoutS, identifier_parser

MOST_READ = 20_000  # characters of stdin: more than any signal may have


class Kind(StrEnum):
    TCF = "tcf"
    TCF_CANADA = "tcf-canada"
    GPP = "gpp"
    USP = "usp"
    GPC = "gpc"
    SMS = "sms"
    CATEGORY_PREFERENCES = "category-preferences"


def signal(
    kind: Annotated[Kind, typer.Argument(help="The format.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What was sent, to the letter; - reads stdin.")],
    *,
    identifier: Annotated[
        NamedIdentifier,
        typer.Option(
            "--identifier",
            metavar="IDENTIFIER",
            parser=identifier_parser,
            help="Whom it came from: namespace:value, such as anonymous_id:a1.",
        ),
    ],
    at: At = None,
    source: Annotated[str, typer.Option(help="Which site, app or system it came from.")] = "",
    method: Method = "",
    mapping: Annotated[str, typer.Option(metavar="NAME", help="Which mapping it is read by; default: signals.")] = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Keep a signal as evidence, and record what it decides by a mapping. It holds from the next read on, everywhere.

    Examples:
      c360 consent signal gpc 1 --identifier anonymous_id:a1
      c360 consent signal sms STOP --identifier phone:+4930901820
    """
    from c360.consent.v1 import signals_pb2, signals_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = signals_pb2.RecordSignalRequest(
        request_id=request_id or str(uuid4()),
        identifier=messages.identifier(identifier),
        kind=signals_pb2.SignalKind.Value(f"SIGNAL_KIND_{kind.name}"),
        text=sys.stdin.read(MOST_READ).rstrip("\r\n") if text == "-" else text,
        happen_time=messages.timestamp(at),
        source=source,
        method=method,
        mapping=mapping,
    )
    try:
        with connect("consent") as channel:
            answer = signals_pb2_grpc.SignalServiceStub(channel).RecordSignal(request, timeout=timeout_s)
    except NotReachable as failure:
        failure.hint = f"It may have been recorded: repeat the command with --request-id {request.request_id}"
        raise
    shown = messages.plain(answer)
    render.document(shown) if as_json else _show(shown)


def _show(shown: dict[str, Any]) -> None:
    kept = shown["signal"]
    decided = [f"{one['purpose']} {one['outcome']} ({one['because']})" for one in shown["decisions"]]
    render.facts(
        [
            ("signal", kept["signal_id"]),
            ("read by", f"{kept['mapping']}@{kept['mapping_version']}, decoder {kept['decoder']} {kept['decoder_version']}"),
            ("decided", decided or "nothing"),
            ("not read", kept["unread"]),
            ("position", shown["position"]),
            ("live readers enforcing it", shown["enforcing_readers"]),
        ]
    )


def signals(
    identifier: IdentifierRef,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show.")] = 50,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List the signals of one identifier, in the order in which they were recorded; `consent decisions` says what they decided."""
    from c360.consent.v1 import signals_pb2, signals_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = signals_pb2.ListSignalsRequest(identifier=messages.identifier(identifier))
    with connect("consent") as channel:
        call = signals_pb2_grpc.SignalServiceStub(channel).ListSignals
        listed = [messages.plain(one) for one in paging.entries(call, request, "signals", limit, timeout_s)]
    if as_json:
        render.document(listed)
        return
    rows = [
        (
            one["happen_time"],
            one["record_time"],
            one["kind"],
            one["text"],
            f"{one['mapping']}@{one['mapping_version']}",
            one["source"],
            one["signal_id"],
        )
        for one in listed
    ]
    render.table("Signals", ("sent", "known", "kind", "text", "read by", "source", "signal"), rows)
