"""`c360 rights`: what people ask about their data, until when it has to be answered, and what was done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import paging, render, rights_calls
from services.cli.consent_restricting import Ground
from services.cli.customer import ERASE_TIMEOUT_S
from services.cli.notation import NamedIdentifier
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, IdentifierRef, RequestId, TimeoutS, identifier_parser, parsed_by
from services.cli.rights_acts import Doing, act
from services.cli.rights_words import Asked, By, ByLaw, Found, OnGround, Reason, Request, Told, day, today

if TYPE_CHECKING:
    from c360.consent.v1 import rights_pb2


app = typer.Typer(no_args_is_help=True, help="Requests of people about their data, from receipt to answer, with the law's terms.")


@app.command("open")
def open_request(
    identifier: IdentifierRef,
    right: Annotated[Asked, typer.Argument(help="What is asked for.")],
    *,
    by: By,
    reason: Reason,
    law: Annotated[ByLaw, typer.Option(help="Which law gives the term.")] = ByLaw.GDPR,
    calendar: Annotated[
        str, typer.Option(metavar="PLACE", help="Whose public holidays count, such as DE or US-CA. Default: none do.")
    ] = "",
    received: Annotated[
        str | None,
        typer.Option("--received", metavar="DAY", parser=parsed_by(day), help="The day on which it came. Default: today."),
    ] = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Take a request of somebody who is known by an identifier, and tell until when it has to be answered.

    Example:
      c360 rights open email:ann@example.com access --calendar DE --by desk --reason "letter of 5 March"
    """
    from c360.consent.v1 import rights_pb2

    from services.cli import messages

    request = rights_pb2.OpenRightsRequestRequest(
        request_id=request_id or str(uuid4()),
        identifier=messages.identifier(identifier),
        right=rights_pb2.Right.Value(f"RIGHT_{right.name}"),
        law=rights_pb2.Law.Value(f"LAW_{law.name}"),
        calendar=calendar,
        receive_date=received or today(),
        taken_by=by,
        reason=reason,
    )
    _show(rights_calls.ask("OpenRightsRequest", request, timeout_s).request, as_json)


@app.command()
def acknowledge(
    rights_request: Request,
    *,
    by: By,
    reason: Reason,
    told: Told = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Record that the requester was told that the request came."""
    _take(rights_request, by, reason, request_id, as_json, timeout_s, acknowledged={"tell_date": told or today()})


@app.command()
def check_identity(
    rights_request: Request,
    found: Annotated[Found, typer.Argument(metavar="passed|failed", help="Whether the requester is the person.")],
    *,
    method: Annotated[str, typer.Option(help="How it was checked, such as signed-in or link-to-the-address.")],
    by: By,
    reason: Reason,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Record whether the requester is the person. The last check counts; a request that repeats another needs its own.

    Example:
      c360 rights check-identity 019f... passed --method signed-in --by desk --reason "asked from the account"
    """
    checked = {"passed": found is Found.PASSED, "method": method}
    _take(rights_request, by, reason, request_id, as_json, timeout_s, identity_checked=checked)


@app.command()
def extend(
    rights_request: Request,
    *,
    by: By,
    reason: Reason,
    told: Told = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Record that the requester was told, within the first term, that it takes longer: as long as the law gives."""
    _take(rights_request, by, reason, request_id, as_json, timeout_s, extended={"tell_date": told or today()})


@app.command()
def refuse(
    rights_request: Request,
    ground: Annotated[OnGround, typer.Argument(help="The law's ground.")],
    *,
    by: By,
    reason: Reason,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Record that it won't be done, or no more than was, and on what ground."""
    from c360.consent.v1 import rights_pb2

    refused = {"ground": rights_pb2.Ground.Value(f"GROUND_{ground.name}")}
    _take(rights_request, by, reason, request_id, as_json, timeout_s, refused=refused)


@app.command()
def withdraw(
    rights_request: Request,
    *,
    by: By,
    reason: Reason,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Record that the requester took it back."""
    _take(rights_request, by, reason, request_id, as_json, timeout_s, withdrawn={})


@app.command()
def fulfil(
    rights_request: Request,
    *,
    by: By,
    reason: Reason,
    proof: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Access, portability: what was handed over. Its SHA-256 is kept; keep the file."),
    ] = None,
    references: Annotated[
        list[str] | None,
        typer.Option("--reference", metavar="ID", help="What did it, such as a correcting event's id. Repeatable."),
    ] = None,
    identifier: Annotated[
        NamedIdentifier | None,
        typer.Option(
            metavar="IDENTIFIER", parser=identifier_parser, help="Objection, restriction: the one that the request names."
        ),
    ] = None,
    purposes: Annotated[
        list[str] | None,
        typer.Option(
            "--purpose", "-P", metavar="NAME", help="Objection, restriction: to what. Repeatable; default: all decidable ones."
        ),
    ] = None,
    grounds: Annotated[
        list[Ground] | None,
        typer.Option(
            "--ground", help="Restriction by the GDPR: of Art. 18(1). Repeatable. Every purpose is restricted, if none is named."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Erasure: save the certificate here; it must not exist.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Erasure: don't ask. There is no way back.")] = False,
    as_json: AsJson = False,
    timeout_s: TimeoutS = ERASE_TIMEOUT_S,
) -> None:
    """Do what was asked for, and record it. It goes on where it was interrupted, when the command is repeated.

    An erasure erases whoever has the identifier, and keeps the certificate's SHA-256. An objection records decisions, and so
    does a restriction: of every purpose (GDPR, `consent lift` ends it), or of those that are named. Of a rectification the event that corrects is named; access and portability are what `c360 rights report` wrote.

    Examples:
      c360 rights fulfil 019f... --proof report/report.json --by desk --reason "handed over by letter"
      c360 rights fulfil 019f... --out certificate.txt --by desk --reason "GDPR Art. 17"
      c360 rights fulfil 019f... --identifier email:ann@example.com -P analytics --by desk --reason "GDPR Art. 21"
      c360 rights fulfil 019f... --identifier email:ann@example.com --ground accuracy-contested --by desk --reason "GDPR Art. 18"
    """
    doing = Doing(by, reason, proof, references or [], identifier, purposes or [], out, yes, grounds or [], timeout_s)
    done = act(rights_calls.get(rights_request, timeout_s).request, doing)
    _take(rights_request, by, reason, f"{rights_request}:fulfilled", as_json, timeout_s, fulfilled=done)


@app.command()
def show(rights_request: Request, as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """Show how a request stands, and who did what, when and why."""
    from services.cli import messages

    shown = messages.plain(rights_calls.get(rights_request, timeout_s))
    if as_json:
        render.document(shown)
        return
    render.facts(_facts(shown["request"]))
    rows = [(one["record_time"], one["kind"], one["taken_by"], one["reason"], _said(one)) for one in shown["steps"]]
    render.table("Steps", ("known", "step", "by", "why", "says"), rows)


@app.command("list")
def list_requests(
    *,
    identifier: Annotated[
        NamedIdentifier | None, typer.Option(metavar="IDENTIFIER", parser=identifier_parser, help="Only those of this one.")
    ] = None,
    right: Annotated[Asked | None, typer.Option(help="Only those that ask for this.")] = None,
    closed: Annotated[
        bool, typer.Option("--closed", help="Those that were answered or taken back, instead of those that are due.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show.")] = 50,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List what is due, first what is due first."""
    from c360.consent.v1 import rights_pb2, rights_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    ends = [rights_pb2.RIGHTS_STATE_FULFILLED, rights_pb2.RIGHTS_STATE_REFUSED, rights_pb2.RIGHTS_STATE_WITHDRAWN]
    request = rights_pb2.ListRightsRequestsRequest(
        states=ends if closed else [],
        right=rights_pb2.Right.Value(f"RIGHT_{right.name}") if right else rights_pb2.RIGHT_UNSPECIFIED,
        identifier=messages.identifier(identifier) if identifier else None,
    )
    with connect("consent") as channel:
        call = rights_pb2_grpc.RightsServiceStub(channel).ListRightsRequests
        listed = [messages.plain(one) for one in paging.entries(call, request, "requests", limit, timeout_s)]
    if as_json:
        render.document(listed)
        return
    rows = [
        (
            one["due_date"],
            "overdue" if one["overdue"] else "",
            one["right"],
            one["state"],
            one["law"],
            render.hashed(one),
            one["rights_request_id"],
        )
        for one in listed
    ]
    render.table("Rights requests", ("due", "", "right", "state", "law", "identifier", "request"), rows)


def _take(rights_request: str, by: str, reason: str, request_id: str, as_json: bool, timeout_s: float, **step: Any) -> None:
    _show(rights_calls.take(rights_request, by, reason, request_id or str(uuid4()), timeout_s, **step), as_json)


def _show(request: rights_pb2.RightsRequest, as_json: bool) -> None:
    from services.cli import messages

    shown = messages.plain(request)
    render.document(shown) if as_json else render.facts(_facts(shown))


def _facts(request: dict[str, Any]) -> list[tuple[str, Any]]:
    """What isn't so isn't said."""
    told = request | {"identifier": render.hashed(request), "namespace": "", "value_hash": ""}
    return [(name.replace("_", " "), "yes" if value is True else value) for name, value in told.items() if value is not False]


def _said(step: dict[str, Any]) -> str:
    """What this step says beside who and why."""
    if step["kind"] == "identity_checked":
        return f"{'passed' if step['passed'] else 'failed'}, by {step['method']}"
    ground = "" if step["ground"] == "unspecified" else step["ground"]
    told = f"told on {step['tell_date']}" if step["tell_date"] else ""
    due = f"due on {step['due_date']}" if step["due_date"] else ""
    proof = f"SHA-256 {step['proof_sha256']}" if step["proof_sha256"] else ""
    return ", ".join(filter(None, [ground, told, due, *step["references"], proof]))
