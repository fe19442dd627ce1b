"""`c360 consent restrictions`: whose processing is restricted."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.cli import notation, render
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, Fresh, TimeoutS, parsed_by

COLUMNS = (
    "since",
    "lifted",
    "grounds",
    "by",
    "why",
    "rights request",
    "namespace",
    "identifier",
    "customer",
    "restriction",
    "belongs",
)


def restrictions(
    person: Annotated[
        notation.Person | None,
        typer.Argument(
            metavar="[PERSON]",
            parser=parsed_by(notation.parse_person),
            help="What holds for this one, also by identifiers that may be somebody else's: a customer id, or namespace:value. Default: everybody's.",
        ),
    ] = None,
    ended: Annotated[bool, typer.Option("--ended", help="Those that were lifted too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show.")] = 50,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List whose processing is restricted (GDPR Art. 18): since when, on which grounds, by whom, and which rights request it fulfilled.

    A restriction has no end until `lift`. With --json: one line each.

    Examples:
      c360 consent restrictions --ended
      c360 consent restrictions email:ann@example.com
    """
    from c360.consent.v1 import evidence_pb2, evidence_pb2_grpc

    from services.cli import messages, paging
    from services.cli.client import connect

    request = evidence_pb2.ListRestrictionsRequest(include_ended=ended, at_least_as_fresh=messages.positions(fresh))
    if person is not None:
        request.customer.CopyFrom(messages.customer_ref(person))
    with connect("consent") as channel:
        call = evidence_pb2_grpc.EvidenceServiceStub(channel).ListRestrictions
        found = [messages.plain(one) for one in paging.entries(call, request, "restrictions", limit, timeout_s)]
    if as_json:
        for one in found:
            render.line(one)
        return
    render.table("Restrictions", COLUMNS, [_row(one) for one in found])


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    told = one["restriction"]
    return (
        one["restrict_time"],
        one["lift_time"],
        " ".join(told["grounds"]),
        told["recorded_by"],
        told["reason"],
        " ".join(one["rights_request_ids"]),
        one["namespace"],
        one["identifier_hash"][: render.SHOWN_DIGITS],
        one["customer_id"],
        one["restriction_id"],
        one["belonging"],
    )
