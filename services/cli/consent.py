"""`c360 consent`: what people decided about purposes, and what both refer to."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import caller_tokens, consent_confirming, consent_evidence, consent_import, consent_signals, definitions, render
from services.cli.audiences.command import filter_file
from services.cli.consent_ages import age, correct_age
from services.cli.consent_asking import askable
from services.cli.consent_listing import decisions
from services.cli.consent_restricted import restrictions
from services.cli.consent_restricting import lift, restrict
from services.cli.consent_unsubscribing import unsubscribe_link
from services.cli.errors import NotReachable
from services.cli.evidence import (
    At,
    AttestedAge,
    Confirmed,
    Guardian,
    Method,
    Notice,
    Proof,
    VerifiedBy,
    authorisation,
    hash_of,
    notice_message,
)
from services.cli.notation import NamedIdentifier, NamedNotice
from services.cli.options import (
    DEFAULT_TIMEOUT_S,
    AsJson,
    Fresh,
    IdentifierRef,
    KnownAt,
    PersonRef,
    PurposeArgument,
    RequestId,
    TimeoutS,
    ValidAt,
    Version,
)

if TYPE_CHECKING:
    from c360.consent.v1 import consent_pb2


class Decided(StrEnum):
    GRANTED = "granted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    OBJECTED = "objected"
    OPTED_OUT = "opted-out"
    OPTED_IN = "opted-in"
    LIMITED = "limited"


app = typer.Typer(no_args_is_help=True, help="Purposes, controllers, notices, mappings and callers, and what each person decided.")
app.add_typer(definitions.purposes, name="purposes")
app.add_typer(definitions.controllers, name="controllers")
app.add_typer(definitions.notices, name="notices")
app.add_typer(definitions.mappings, name="mappings")
caller_tokens.add_to(definitions.callers)
app.add_typer(definitions.callers, name="callers")
app.add_typer(definitions.overrides, name="overrides")
app.command("filter")(filter_file)
app.command("import")(consent_import.import_file)
elsewhere: list[Any] = [consent_evidence.receipt, consent_evidence.explain, consent_evidence.diff, consent_evidence.conflicts]
elsewhere += [consent_confirming.request_confirmation, consent_confirming.confirm, unsubscribe_link, restrict, lift]
elsewhere += [decisions, age, correct_age, askable, restrictions]
elsewhere += [consent_signals.signal, consent_signals.signals]
for command in elsewhere:
    app.command()(command)


@app.command()
def record(
    identifier: IdentifierRef,
    purpose: PurposeArgument,
    decided: Annotated[Decided, typer.Argument(metavar="granted|refused|withdrawn|objected|opted-out|opted-in|limited")],
    *,
    at: At = None,
    method: Method = "",
    confirmed: Confirmed = False,
    attested_age: AttestedAge = 0,
    notice: Notice = None,
    proof: Proof = None,
    guardian: Guardian = None,
    verified_by: VerifiedBy = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Record what a person decided. It holds from the next read on, everywhere.

    Example:
      c360 consent record email:ann@example.com marketing granted --method web-form
    """
    _record(
        identifier,
        purpose,
        decided,
        at=at,
        method=method,
        confirmed=confirmed,
        attested_age=attested_age,
        notice=notice,
        proof=proof,
        authorised=authorisation(guardian, verified_by),
        request_id=request_id,
        as_json=as_json,
        timeout_s=timeout_s,
    )


@app.command()
def grant(
    identifier: IdentifierRef,
    purpose: PurposeArgument,
    *,
    at: At = None,
    method: Method = "",
    confirmed: Confirmed = False,
    attested_age: AttestedAge = 0,
    notice: Notice = None,
    proof: Proof = None,
    guardian: Guardian = None,
    verified_by: VerifiedBy = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Short for `record IDENTIFIER PURPOSE granted`."""
    _record(
        identifier,
        purpose,
        Decided.GRANTED,
        at=at,
        method=method,
        confirmed=confirmed,
        attested_age=attested_age,
        notice=notice,
        proof=proof,
        authorised=authorisation(guardian, verified_by),
        request_id=request_id,
        as_json=as_json,
        timeout_s=timeout_s,
    )


@app.command()
def withdraw(
    identifier: IdentifierRef,
    purpose: PurposeArgument,
    *,
    at: At = None,
    method: Method = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Short for `record IDENTIFIER PURPOSE withdrawn`."""
    _record(
        identifier,
        purpose,
        Decided.WITHDRAWN,
        at=at,
        method=method,
        request_id=request_id,
        as_json=as_json,
        timeout_s=timeout_s,
    )


@app.command()
def check(
    person: PersonRef,
    purpose: PurposeArgument,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    version: Version = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell whether a purpose is permitted for a person, and why; or was at an instant. Exit code 0: permitted, 1: not permitted.

    Examples:
      c360 consent check email:ann@example.com marketing
      c360 consent check email:ann@example.com marketing --valid-at -7d --known-at -7d
      c360 consent check email:ann@example.com marketing --version 12
    """
    from c360.consent.v1 import consent_pb2, consent_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect
    from services.cli.versions import known_at_version

    request = consent_pb2.CheckRequest(
        purpose=purpose,
        customer=messages.customer_ref(person),
        valid_at=messages.timestamp(valid_at),
        known_at=messages.timestamp(known_at),
        at_least_as_fresh=messages.positions(fresh),
    )
    if version:
        request.known_at.CopyFrom(known_at_version(person, version, request.known_at if known_at else None, timeout_s))
    with connect("consent") as channel:
        answer = consent_pb2_grpc.ConsentServiceStub(channel).Check(request, timeout=timeout_s)
    if as_json:
        render.document(messages.plain(answer))
    else:
        verdict = "permitted" if answer.permitted else "not permitted"
        by = f"{purpose}@{answer.purpose_version}"
        facts = [(purpose, verdict), ("reason", answer.reason), ("decision", answer.decision_id), ("by", by)]
        again = messages.plain(answer)["ask_again_time"]
        render.facts([*facts, ("not to be asked before", again)] if again else facts)
    if not answer.permitted:
        raise typer.Exit(1)


def _record(
    identifier: NamedIdentifier,
    purpose: str,
    decided: Decided,
    *,
    at: datetime | None,
    method: str,
    confirmed: bool = False,
    attested_age: int = 0,
    notice: NamedNotice | None = None,
    proof: Path | None = None,
    authorised: consent_pb2.ParentalAuthorisation | None = None,
    request_id: str,
    as_json: bool,
    timeout_s: float,
) -> None:
    from c360.consent.v1 import consent_pb2, consent_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = consent_pb2.RecordDecisionRequest(
        request_id=request_id or str(uuid4()),
        identifier=messages.identifier(identifier),
        purpose=purpose,
        outcome=consent_pb2.Outcome.Value(f"OUTCOME_{decided.name}"),
        decide_time=messages.timestamp(at),
        method=method,
        confirmed=confirmed,
        attested_age=attested_age,
        notice=notice_message(notice),
        proof_sha256=hash_of(proof) if proof else "",
        parental_authorisation=authorised,
    )
    try:
        with connect("consent") as channel:
            answer = consent_pb2_grpc.ConsentServiceStub(channel).RecordDecision(request, timeout=timeout_s)
    except NotReachable as failure:
        failure.hint = f"It may have been recorded: repeat the command with --request-id {request.request_id}"
        raise
    shown = messages.plain(answer)
    if as_json:
        render.document(shown)
        return
    render.facts(
        [
            ("recorded", f"{purpose} {decided}"),
            ("decision", shown["decision_id"]),
            ("position", shown["position"]),
            ("live readers enforcing it", shown["enforcing_readers"]),
        ]
    )
    if shown["asked_too_early"]:
        render.note("They were asked again before the purpose allows it.")
    if shown["enforcing_readers"] == 0:
        render.note("No reader is live now, and none can serve what needs consent before it has applied this decision.")
