"""`c360 customer`: erase a person, or forbid it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import render
from services.cli.errors import Misused, NotReachable, Refused
from services.cli.notation import NamedCustomer, NamedIdentifier, Person
from services.cli.options import AsJson, Fresh, PersonRef, RequestId, TimeoutS

if TYPE_CHECKING:
    from c360.identity.v1 import identity_pb2

ERASE_TIMEOUT_S = 30.0  # a large history is read again before it is certified


class Policy(StrEnum):
    REFUSE = "refuse"
    START_CLEAN = "start-clean"


PolicyOption = Annotated[
    Policy,
    typer.Option(help="Events that name the person again: refuse drops and counts them, start-clean founds a new customer."),
]
Reason = Annotated[str, typer.Option(help="Why, such as 'GDPR Art. 17, ticket 4711'. Kept for ever: name nobody in it.")]
By = Annotated[str, typer.Option("--by", help="Who asks, as an id or a role. Kept for ever.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Save the certificate here.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask: there is no way back.")]

app = typer.Typer(no_args_is_help=True, help="Erase a person with a signed certificate, or forbid it by a legal hold.")


@app.command()
def erase(
    person: PersonRef,
    *,
    reason: Reason,
    policy: PolicyOption = Policy.REFUSE,
    by: By = "",
    out: Out = None,
    yes: Yes = False,
    request_id: RequestId = "",
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = ERASE_TIMEOUT_S,
) -> None:
    """Destroy everything personal about a customer and all that is merged with it, for ever.

    Prints the signed certificate. A legal hold queues the erasure; it runs when the hold is released.

    Example:
      c360 customer erase email:ann@example.com --reason "GDPR Art. 17, ticket 4711" -o certificate.txt
    """
    if not yes and not typer.confirm("This can't be undone. Erase?", err=True):
        raise Misused("NOT_CONFIRMED", "nothing was erased")
    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = identity_pb2.EraseCustomerRequest(
        request_id=request_id or str(uuid4()),
        policy=identity_pb2.ReimportPolicy.Value(f"REIMPORT_POLICY_{policy.name}"),
        reason=reason,
        requested_by=by,
        at_least_as_fresh=messages.newest(fresh),
    )
    _name(request, person)
    with connect("identity") as channel:
        erased = identity_pb2_grpc.IdentityServiceStub(channel).EraseCustomer(request, timeout=timeout_s).erasure
    _show(erased, out, as_json)
    if not erased.certificate and erased.stage != identity_pb2.ERASURE_STAGE_QUEUED:
        raise NotReachable("NOT_YET_ERASED", f"it goes on by itself; see `c360 customer erasure {erased.request_id}`")


@app.command()
def erasure(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="What it was asked for with.")],
    out: Out = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = ERASE_TIMEOUT_S,
) -> None:
    """Show how far an erasure has come, and its certificate."""
    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    from services.cli.client import connect

    with connect("identity") as channel:
        request = identity_pb2.GetErasureRequest(request_id=request_id)
        found = identity_pb2_grpc.IdentityServiceStub(channel).GetErasure(request, timeout=timeout_s).erasure
    _show(found, out, as_json)


@app.command()
def verify(
    certificate: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate.", exists=True, dir_okay=False)],
    key: Annotated[str, typer.Option(help="The verifier key, as `c360 vault key` printed it.")],
) -> None:
    """Verify a certificate offline, and print what it certifies. Exit code 1 when it isn't what was signed."""
    from shared.notes import NoteBroken, verify_note

    try:
        print(verify_note(certificate.read_text(encoding="utf-8"), key), end="")
    except (NoteBroken, UnicodeDecodeError) as error:
        raise Refused("CERTIFICATE_BROKEN", str(error)) from error


@app.command()
def hold(
    person: PersonRef,
    *,
    reason: Reason,
    by: By = "",
    request_id: RequestId = "",
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = ERASE_TIMEOUT_S,
) -> None:
    """Place a legal hold: the customer, and all that is or will be merged with it, can't be erased."""
    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = identity_pb2.PlaceLegalHoldRequest(
        request_id=request_id or str(uuid4()), reason=reason, placed_by=by, at_least_as_fresh=messages.newest(fresh)
    )
    _name(request, person)
    with connect("identity") as channel:
        placed = identity_pb2_grpc.IdentityServiceStub(channel).PlaceLegalHold(request, timeout=timeout_s).hold
    _show_hold(messages.plain(placed), as_json)


@app.command()
def release(
    hold_id: Annotated[str, typer.Argument(metavar="HOLD_ID", help="As `c360 customer hold` printed it.")],
    *,
    by: By = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = ERASE_TIMEOUT_S,
) -> None:
    """Release a legal hold; an erasure that waited for it begins."""
    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = identity_pb2.ReleaseLegalHoldRequest(request_id=request_id or str(uuid4()), hold_id=hold_id, released_by=by)
    with connect("identity") as channel:
        released = identity_pb2_grpc.IdentityServiceStub(channel).ReleaseLegalHold(request, timeout=timeout_s).hold
    _show_hold(messages.plain(released), as_json)


def _name(request: Any, person: Person) -> None:
    from services.cli import messages

    if isinstance(person, NamedCustomer):
        request.customer_id = person.customer_id
    else:
        assert isinstance(person, NamedIdentifier)
        request.identifier.CopyFrom(messages.identifier(person))


def _show(erasure: identity_pb2.Erasure, out: Path | None, as_json: bool) -> None:
    from services.cli import messages

    if out is not None and erasure.certificate:
        out.write_text(erasure.certificate, encoding="utf-8")
        render.note(f"certificate saved in {out}")
    shown = messages.plain(erasure)
    if as_json:
        render.document(shown)
        return
    names = ("stage", "request_id", "customer_id", "policy", "reason", "request_time", "complete_time", "hold_ids", "verifier_key")
    render.facts([(name.replace("_", " "), shown[name]) for name in names])
    if erasure.certificate:
        print(f"\n{erasure.certificate}", end="")


def _show_hold(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        render.document(shown)
        return
    names = ("hold_id", "customer_id", "reason", "placed_by", "place_time", "release_time")
    render.facts([(name.replace("_", " "), shown[name]) for name in names])
