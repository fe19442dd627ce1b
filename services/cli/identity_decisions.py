"""Who is who by hand: `c360 identity merge|split|forbid|withdraw|decisions|decide`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import paging, render
from services.cli.errors import Misused, NotReachable
from services.cli.notation import Person, parse_person
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, Fresh, PersonRef, RequestId, TimeoutS, parsed_by

if TYPE_CHECKING:
    from c360.identity.v1 import decision_pb2


# What hangs together with very much is looked at beside the events, and what is sent of it meanwhile first: seconds, amid thousands of links.
DECIDING_TIMEOUT_S = 30.0

By = Annotated[str, typer.Option("--by", help="Who decides, as an id or a role. Kept for ever.")]
Reason = Annotated[str, typer.Option(help="Why, such as 'ticket 4711'. Kept for ever: name nobody in it.")]
OtherRef = Annotated[
    Person,
    typer.Argument(metavar="OTHER", parser=parsed_by(parse_person), help="The other one, named likewise."),
]
MoveOthers = Annotated[
    bool,
    typer.Option(
        "--move-others",
        help="Also if others than the two are joined or parted by it, which is refused without. The answer tells who.",
    ),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, as listed.")]

app = typer.Typer()


@app.command()
def merge(
    person: PersonRef,
    other: OtherRef,
    *,
    by: By,
    reason: Reason,
    move_others: MoveOthers = False,
    request_id: RequestId = "",
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DECIDING_TIMEOUT_S,
) -> None:
    """Make two customers one, and change nobody else. `c360 identity withdraw` takes it back.

    `c360 identity simulate merge` tells beforehand what else would change, if something would.

    Example:
      c360 identity merge user_id:u1 email:ann@example.com --by crm-desk --reason "ticket 4711"
    """
    _decide("MergeCustomers", person, other, by, reason, request_id, fresh, as_json, timeout_s, move_others=move_others)


@app.command()
def split(
    person: PersonRef,
    other: OtherRef,
    *,
    by: By,
    reason: Reason,
    request_id: RequestId = "",
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DECIDING_TIMEOUT_S,
) -> None:
    """Make two of what is one customer now: each side is as if they had never been merged.

    Name one of each side: an id from before the merge (`c360 identity customer` lists them), or an identifier.

    Example:
      c360 identity split user_id:u1 phone:+4366412345 --by crm-desk --reason "the phone changed hands"
    """
    _decide("SplitCustomer", person, other, by, reason, request_id, fresh, as_json, timeout_s)


@app.command()
def forbid(
    person: PersonRef,
    other: OtherRef,
    *,
    by: By,
    reason: Reason,
    request_id: RequestId = "",
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DECIDING_TIMEOUT_S,
) -> None:
    """Keep two customers apart that are two now, whatever is seen later."""
    _decide("ForbidMerge", person, other, by, reason, request_id, fresh, as_json, timeout_s)


@app.command()
def withdraw(
    decision_id: Id,
    *,
    by: By,
    reason: Reason,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DECIDING_TIMEOUT_S,
) -> None:
    """Take a decision back: everything is as if it had never been made."""
    from c360.identity.v1 import decision_pb2

    request = decision_pb2.WithdrawDecisionRequest(
        request_id=request_id or str(uuid4()), decision_id=decision_id, withdrawn_by=by, reason=reason
    )
    _show(_asked("WithdrawDecision", request, timeout_s), as_json)


@app.command()
def decide(
    proposal_id: Id,
    *,
    accept: Annotated[bool, typer.Option("--accept", help="The two are one.")] = False,
    decline: Annotated[bool, typer.Option("--decline", help="The two are never one.")] = False,
    by: By,
    reason: Reason,
    move_others: MoveOthers = False,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DECIDING_TIMEOUT_S,
) -> None:
    """Accept or decline a proposal; `c360 identity proposals` lists them. It is a decision like any other."""
    if accept and decline:
        raise Misused("ANSWER_CONTRADICTORY", "--accept says that the two are one, --decline that they never are: give one of them")
    if not accept and not decline:
        raise Misused("ANSWER_MISSING", "say --accept (the two are one) or --decline (they never are)")
    from c360.identity.v1 import decision_pb2

    request = decision_pb2.DecideProposalRequest(
        request_id=request_id or str(uuid4()),
        proposal_id=proposal_id,
        answer=decision_pb2.PROPOSAL_ANSWER_ACCEPT if accept else decision_pb2.PROPOSAL_ANSWER_DECLINE,
        decided_by=by,
        reason=reason,
        move_others=move_others,
    )
    _show(_asked("DecideProposal", request, timeout_s), as_json)


@app.command()
def decisions(
    person: Annotated[
        Person | None,
        typer.Argument(metavar="[PERSON]", parser=parsed_by(parse_person), help="Only those about this customer."),
    ] = None,
    *,
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="Also those that were taken back.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show, oldest first.")] = 50,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List what was decided by hand. With --json: one line each."""
    from c360.identity.v1 import decision_pb2

    from services.cli import messages

    request = decision_pb2.ListDecisionsRequest(include_withdrawn=withdrawn, at_least_as_fresh=messages.newest(fresh))
    if person is not None:
        request.customer.CopyFrom(messages.customer_ref(person))
    listed = (messages.plain(decision) for decision in _decisions(request, limit, timeout_s))
    if as_json:
        for decision in listed:
            render.line(decision)
        return
    back = (("withdrawn", "withdraw_time"), ("withdrawn by", "withdrawn_by"), ("withdrawn because", "withdraw_reason"))
    columns = {"decided": "decide_time", "what": "kind", "customers": "sides", "by": "decided_by", "why": "reason"}
    columns |= {**(dict(back) if withdrawn else {}), "decision": "decision_id"}
    rows = [tuple({**decision, "sides": _sides(decision)}[field] for field in columns.values()) for decision in listed]
    render.table("Decisions", tuple(columns), rows)


def _decisions(request: decision_pb2.ListDecisionsRequest, limit: int, timeout_s: float) -> Iterator[decision_pb2.Decision]:
    from c360.identity.v1 import decision_pb2_grpc

    from services.cli.client import connect

    with connect("identity") as channel:
        stub = decision_pb2_grpc.DecisionServiceStub(channel)
        yield from paging.entries(stub.ListDecisions, request, "decisions", limit, timeout_s)


def _decide(
    call: str,
    person: Person,
    other: Person,
    by: str,
    reason: str,
    request_id: str,
    fresh: Any,
    as_json: bool,
    timeout_s: float,
    **more: bool,
) -> None:
    from c360.identity.v1 import decision_pb2

    from services.cli import messages

    request = getattr(decision_pb2, f"{call}Request")(
        request_id=request_id or str(uuid4()),
        customer=messages.customer_ref(person),
        other=messages.customer_ref(other),
        decided_by=by,
        reason=reason,
        at_least_as_fresh=messages.newest(fresh),
        **more,
    )
    _show(_asked(call, request, timeout_s), as_json)


def _asked(call: str, request: Any, timeout_s: float) -> Any:
    """Of what is answered too late nobody knows here whether it was decided: it says how to find out."""
    from c360.identity.v1 import decision_pb2_grpc

    from services.cli.client import connect

    try:
        with connect("identity") as channel:
            return getattr(decision_pb2_grpc.DecisionServiceStub(channel), call)(request, timeout=timeout_s)
    except NotReachable as error:
        if error.reason == "DEADLINE_EXCEEDED":
            error.hint = (
                "It may still be carried out. `c360 identity decisions --withdrawn` lists what was decided and taken back; the same command with "
                f"--request-id {request.request_id} is answered with it, and decides nothing twice."
            )
        raise


def _show(answer: Any, as_json: bool) -> None:
    from services.cli import messages

    shown = messages.plain(answer)
    if as_json:
        render.document(shown)
        return
    decision = shown["decision"]
    render.facts([(_word(decision), decision["decision_id"]), ("position", shown["position"])])
    rows = [(cluster["customer_id"], cluster["member_ids"]) for cluster in shown["customers"]]
    render.table("Customers now", ("customer", "members"), rows)
    if others := shown.get("moved"):
        rows = [(one["customer_id"], one["now_customer_ids"]) for one in others]
        render.table("Moved besides", ("customer before", "now of"), rows)


def _sides(decision: dict[str, Any]) -> str:
    """The two customers; where one had both, what of it was told apart."""
    one, other = decision["customer_ids"]
    if one != other:
        return f"{one}, {other}"
    return f"{one}: {' and '.join(map(render.hashed, decision['identifiers']))}"


def _word(decision: dict[str, Any]) -> str:
    return f"{decision['kind']}, withdrawn" if decision["withdraw_time"] else str(decision["kind"])
