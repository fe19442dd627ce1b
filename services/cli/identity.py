"""`c360 identity`: who is who."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import identity_rules, paging, render
from services.cli.notation import NamedCustomer, NamedIdentifier, Person, parse_person
from services.cli.options import (
    DEFAULT_TIMEOUT_S,
    MOST,
    AsJson,
    AsOf,
    Fresh,
    IdentifierRef,
    KnownAt,
    PersonRef,
    TimeoutS,
    parsed_by,
)

if TYPE_CHECKING:
    from c360.identity.v1 import identity_pb2


class State(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ALL = "all"


WHOSE = {  # what is somebody's own needs no word
    "shared": "nobody's: too many use it, or the rules say so; its customer is all of them",
    "contested": "two people's whom nothing else joins; its customer is neither",
}

app = typer.Typer(no_args_is_help=True, help="Who is who: customers, their identifiers, and the merges between them.")
app.add_typer(identity_rules.app, name="rules")
app.add_typer(identity_rules.simulation, name="simulate")


@app.command()
def resolve(
    identifier: IdentifierRef,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Find the customer that an identifier names, now or at a past instant.

    --as-of alone is the past with today's knowledge and rules; --known-at alone is what this command would have said then.
    """
    from c360.identity.v1 import explanation_pb2, explanation_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = explanation_pb2.ResolveIdentifierAtRequest(
        identifier=messages.identifier(identifier),
        as_of=messages.timestamp(as_of),
        known_at=messages.timestamp(known_at),
        at_least_as_fresh=messages.newest(fresh),
    )
    with connect("identity") as channel:
        answer = explanation_pb2_grpc.ExplanationServiceStub(channel).ResolveIdentifierAt(request, timeout=timeout_s)
    if as_json:
        render.document(messages.plain(answer))
        return
    merged_from = answer.linked_customer_id if answer.linked_customer_id != answer.customer_id else None
    told = [
        ("customer", answer.customer_id),
        ("linked to, before a merge", merged_from),
        ("whose", WHOSE.get(messages.plain(answer)["ownership"])),
    ]
    render.facts(told)


@app.command()
def customer(
    person: PersonRef,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Show how a customer came to be: its members, identifiers (hashed) and merges."""
    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    position = messages.newest(fresh)
    with connect("identity") as channel:
        stub = identity_pb2_grpc.IdentityServiceStub(channel)
        if isinstance(person, NamedIdentifier):
            named = identity_pb2.ResolveIdentifierRequest(identifier=messages.identifier(person), at_least_as_fresh=position)
            person = NamedCustomer(stub.ResolveIdentifier(named, timeout=timeout_s).customer_id)
        assert isinstance(person, NamedCustomer)
        request = identity_pb2.GetCustomerRequest(customer_id=person.customer_id, at_least_as_fresh=position)
        answer = stub.GetCustomer(request, timeout=timeout_s)
    shown = messages.plain(answer.customer)
    render.document(shown) if as_json else _show_customer(shown)


@app.command()
def proposals(
    person: Annotated[
        Person | None,
        typer.Argument(metavar="[PERSON]", parser=parsed_by(parse_person), help="Only those about this customer."),
    ] = None,
    *,
    state: Annotated[State, typer.Option(help="Only those in this state.")] = State.OPEN,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show, oldest first.")] = 50,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List merges that people have to decide (`c360 identity decide`). With --json: one line each."""
    from services.cli import messages

    listed = (messages.plain(proposal) for proposal in _proposals(person, state, limit, fresh, timeout_s))
    if as_json:
        for proposal in listed:
            render.line(proposal)
        return
    rows = [
        (
            p["propose_time"],
            p["expire_time"] or p["close_time"],
            p["state"],
            ", ".join([p["reason"], *p["doubts"]]),
            "" if p["weight"] is None else f"{p['weight']:.2f}",
            p["customer_ids"],
            *(() if state is State.OPEN else (p["decided_by"], p["close_cause_id"])),
            p["proposal_id"],
        )
        for p in listed
    ]
    decided = () if state is State.OPEN else ("decided by", "because of")
    ends = {State.OPEN: "expires", State.ALL: "expires or ended"}.get(state, "ended")
    render.table("Proposals", ("proposed", ends, "state", "reason", "bits", "customers", *decided, "proposal"), rows)


def _proposals(person: Person | None, state: State, limit: int, fresh: Any, timeout_s: float) -> Iterator[identity_pb2.Proposal]:
    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    wanted = "UNSPECIFIED" if state is State.ALL else state.name
    request = identity_pb2.ListProposalsRequest(
        state=identity_pb2.ProposalState.Value(f"PROPOSAL_STATE_{wanted}"), at_least_as_fresh=messages.newest(fresh)
    )
    if person is not None:
        request.customer.CopyFrom(messages.customer_ref(person))
    with connect("identity") as channel:
        stub = identity_pb2_grpc.IdentityServiceStub(channel)
        yield from paging.entries(stub.ListProposals, request, "proposals", limit, timeout_s)


def _show_customer(shown: dict[str, Any]) -> None:
    names = ("customer_id", "found_time", "member_ids", "erasure_id")
    render.facts(list(zip(("customer", "founded", "members", "erased by erasure"), (shown[name] for name in names), strict=True)))
    rows = [(i["namespace"], i["value_hash"], i["customer_id"], i["link_time"]) for i in shown["identifiers"]]
    render.table("Identifiers", ("namespace", "hash", "linked to", "linked"), rows)
    if shown["merges"]:
        merges = [(m["merge_time"], m["customer_ids"], _cause(m), m["merge_id"]) for m in shown["merges"]]
        render.table("Merges", ("merged", "customers", "because of", "merge"), merges)


def _cause(merge: dict[str, Any]) -> str:
    decision, event = merge["cause_decision_id"], merge["cause_event_id"]
    match = f", match of {merge['match_weight']:.1f} bits" if merge["match_weight"] else ""
    return f"decision {decision}{match}" if decision else f"event {event}{match}"
