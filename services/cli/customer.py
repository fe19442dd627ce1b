"""`c360 customer`: erase a person, or forbid it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import render
from services.cli.errors import Misused, NotReachable, Queued, Refused
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
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Save the certificate here; it must not exist.")]
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

    Prints the signed certificate. Identifiers that were only ever seen with the customer's go with it; customers that are only proposed to be the same person stay, and are named. Who has no customer is erased by an identifier that events in the quarantine name. A legal hold queues the erasure (exit code 4); it runs when the hold is released.

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
        customer=messages.customer_ref(person),
        policy=identity_pb2.ReimportPolicy.Value(f"REIMPORT_POLICY_{policy.name}"),
        reason=reason,
        requested_by=by,
        at_least_as_fresh=messages.newest(fresh),
    )
    with _file_for(out) as save, connect("identity") as channel:
        render.note(f"request id {request.request_id}: `c360 customer erasure {request.request_id}` tells how far it has come")
        erased = identity_pb2_grpc.IdentityServiceStub(channel).EraseCustomer(request, timeout=timeout_s).erasure
        save(erased)  # first: whoever reads what is printed may go away
        _show(erased, as_json)
    _require_certificate(erased)


@app.command()
def erasure(
    request_id: Annotated[str, typer.Argument(metavar="[REQUEST_ID]", help="What it was asked for with.")] = "",
    *,
    customer_id: Annotated[str, typer.Option("--customer", metavar="ID", help="Instead: any id of the customer.")] = "",
    out: Out = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = ERASE_TIMEOUT_S,
) -> None:
    """Show how far an erasure has come, and its certificate."""
    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    from services.cli.client import connect

    if bool(request_id) == bool(customer_id):
        raise Misused("ERASURE_MISSING", "give the request id, or --customer")
    named = {"request_id": request_id} if request_id else {"customer_id": customer_id}
    with _file_for(out) as save, connect("identity") as channel:
        request = identity_pb2.GetErasureRequest(**named)
        found = identity_pb2_grpc.IdentityServiceStub(channel).GetErasure(request, timeout=timeout_s).erasure
        save(found)
        _show(found, as_json)
    if out is not None:
        _require_certificate(found)


@app.command()
def verify(
    certificate: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate.", exists=True, dir_okay=False)],
    key: Annotated[str, typer.Option(help="The verifier key, as `c360 vault key` printed it.")],
) -> None:
    """Verify a certificate offline, and print what it certifies. Exit code 1 when it isn't what was signed."""
    from shared.notes import NoteBroken, parse_verifier, verify_note

    try:
        parse_verifier(key)
    except NoteBroken as error:
        raise Misused("KEY_INVALID", f"--key: {error}; `c360 vault key` prints it") from error
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
        request_id=request_id or str(uuid4()),
        customer=messages.customer_ref(person),
        reason=reason,
        placed_by=by,
        at_least_as_fresh=messages.newest(fresh),
    )
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


@contextmanager
def _file_for(out: Path | None) -> Iterator[Callable[[identity_pb2.Erasure], None]]:
    """Made before anything is asked for: what can't be undone must not lose its certificate to a mistyped path.

    Yields what saves a certificate, if there is one; otherwise the file is removed again.
    """
    if out is None:
        yield lambda _: None
        return
    try:
        out.open("x").close()
    except OSError as error:
        raise Misused("OUTPUT_NOT_WRITTEN", f"{out}: {error.strerror}; nothing was asked for") from error

    def save(erasure: identity_pb2.Erasure) -> None:
        if not erasure.certificate:
            return
        try:
            out.write_text(erasure.certificate, encoding="utf-8")
        except OSError as error:
            again = f"`c360 customer erasure {erasure.request_id}` shows the certificate again"
            raise Misused("OUTPUT_NOT_WRITTEN", f"{out}: {error.strerror}; {again}") from error
        render.note(f"certificate saved in {out}")

    try:
        yield save
    finally:
        if not out.stat().st_size:
            out.unlink()


def _show(erasure: identity_pb2.Erasure, as_json: bool) -> None:
    from services.cli import messages

    shown = messages.plain(erasure)
    if as_json:
        render.document(shown)
        return
    names = ("stage", "request_id", "customer_id", "policy", "reason", "request_time", "complete_time", "hold_ids", "verifier_key")
    render.facts([(name.replace("_", " "), shown[name]) for name in names])
    if erasure.proposed_customer_ids:
        render.note("not erased, though proposed to be the same person: " + ", ".join(erasure.proposed_customer_ids))
    if erasure.certificate:
        print(f"\n{erasure.certificate}", end="")


def _require_certificate(erasure: identity_pb2.Erasure) -> None:
    from c360.identity.v1 import identity_pb2

    if erasure.certificate:
        return
    see = f"see `c360 customer erasure {erasure.request_id}`"
    if erasure.stage == identity_pb2.ERASURE_STAGE_QUEUED:
        raise Queued("QUEUED", f"queued by a legal hold: nothing is erased, no certificate; it begins when it is released: {see}")
    raise NotReachable("NOT_YET_ERASED", f"it goes on by itself; {see}")


def _show_hold(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        render.document(shown)
        return
    names = ("hold_id", "customer_id", "reason", "placed_by", "place_time", "release_time")
    render.facts([(name.replace("_", " "), shown[name]) for name in names])
