"""`c360 consent unsubscribe-link`: what ends with one click what comes to an address."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli import render
from services.cli.errors import Refused
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, IdentifierRef, PurposeArgument, TimeoutS


def unsubscribe_link(
    identifier: IdentifierRef,
    purpose: PurposeArgument,
    *,
    days: Annotated[int, typer.Option(min=30, max=3650, help="How long it may be used.")] = 730,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Make the link, and the headers (RFC 8058), by which whoever gets a message withdraws a purpose with one click.

    Example:
      c360 consent unsubscribe-link email:ann@example.com marketing
    """
    from c360.consent.v1 import unsubscribe_pb2, unsubscribe_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = unsubscribe_pb2.CreateUnsubscribeLinksRequest(
        purpose=purpose, identifiers=[messages.identifier(identifier)], valid_days=days
    )
    with connect("consent") as channel:
        answer = unsubscribe_pb2_grpc.UnsubscribeServiceStub(channel).CreateUnsubscribeLinks(request, timeout=timeout_s)
    [result] = answer.results
    if result.WhichOneof("outcome") == "refusal":
        raise Refused(result.refusal.reason, result.refusal.message, result.refusal.metadata)
    shown = messages.plain(result.link)
    if as_json:
        render.document(shown)
        return
    render.facts(
        [
            ("link", shown["url"]),
            ("List-Unsubscribe", shown["list_unsubscribe"]),
            ("List-Unsubscribe-Post", shown["list_unsubscribe_post"]),
            ("of use until", shown["expire_time"]),
        ]
    )
