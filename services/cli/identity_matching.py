"""`c360 identity match`: who is likely whom, though no identifier says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import identity_models, notation, paging, render, weights
from services.cli.notation import Person
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, AsOf, Fresh, KnownAt, PersonRef, TimeoutS, parsed_by

if TYPE_CHECKING:
    from c360.identity.v1 import matching_pb2_grpc

COMPARISONS_SHOWN = 3  # the strongest; --json has all

app = typer.Typer(
    no_args_is_help=True, help="Who is likely whom, though no identifier says so: weights, and what they are made of."
)

app.command()(identity_models.model)
app.command()(identity_models.models)
app.command("check-model")(identity_models.check_model)
app.command("activate-model")(identity_models.activate_model)

app.command("read-back")(identity_models.read_back)

OtherRef = Annotated[
    Person,
    typer.Argument(metavar="OTHER", parser=parsed_by(notation.parse_person), help="The other, named in the same ways."),
]


@app.command()
def explain(
    one: PersonRef,
    other: OtherRef,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Show what speaks for and against two being one person, in parts that add up. No value is shown.

    Of a past instant it is told by the model and the rules of then. Matches are kept as they
    were; of two that didn't match then it is told if the same is said of both since, else the
    command fails with RECORDS_OF_THEN_UNKNOWN.

    Examples:
      c360 identity match explain email:ann@example.com card:77120
      c360 identity match explain email:ann@example.com card:77120 --known-at -30d
    """
    from c360.identity.v1 import matching_pb2

    from services.cli import messages

    request = matching_pb2.ExplainMatchRequest(
        one=messages.customer_ref(one),
        other=messages.customer_ref(other),
        as_of=messages.timestamp(as_of),
        known_at=messages.timestamp(known_at),
        at_least_as_fresh=messages.newest(fresh),
    )
    answer = _ask("ExplainMatch", request, timeout_s)
    if as_json:
        render.document(answer)
        return
    if answer["unknown_comparisons"]:
        render.note(f"of {answer['unknown_comparisons']} more pairs of records nobody knows what was said then")
    if not answer["comparisons"]:
        render.note("nothing that can be compared was said of one of them")
    for comparison in answer["comparisons"][:COMPARISONS_SHOWN]:
        weights.show(comparison)


@app.command("list")
def matches(
    person: PersonRef,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show, strongest first.")] = 50,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List whom a customer is likely to be, strongest first."""
    from c360.identity.v1 import matching_pb2

    from services.cli import messages

    request = matching_pb2.ListMatchesRequest(customer=messages.customer_ref(person), at_least_as_fresh=messages.newest(fresh))
    found = [messages.plain(match) for match in _list("ListMatches", request, "matches", limit, timeout_s)]
    if as_json:
        render.document(found)
        return
    rows = [
        (
            f"{m['weight']:.2f}",
            m["veto"] or m["band"],
            "yes" if m["together"] else "no",
            m["other"]["customer_id"],
            m["other"]["source"],
        )
        for m in found
    ]
    render.table("Matches", ("bits", "says", "one now", "customer", "source"), rows)


@app.command()
def household(
    person: PersonRef,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show, oldest first.")] = 50,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List the customers of the same family name at the same address. They are no reason for a merge."""
    from c360.identity.v1 import matching_pb2

    from services.cli import messages

    request = matching_pb2.ListHouseholdRequest(customer=messages.customer_ref(person), at_least_as_fresh=messages.newest(fresh))
    found = list(_list("ListHousehold", request, "customer_ids", limit, timeout_s))
    if as_json:
        render.document(found)
        return
    render.table("Household", ("customer",), [(customer,) for customer in found])


def _ask(method: str, request: Any, timeout_s: float) -> dict[str, Any]:
    from c360.identity.v1 import matching_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    with connect("identity") as channel:
        stub: matching_pb2_grpc.MatchingServiceStub = matching_pb2_grpc.MatchingServiceStub(channel)
        answer: dict[str, Any] = messages.plain(getattr(stub, method)(request, timeout=timeout_s))
    return answer


def _list(method: str, request: Any, field: str, limit: int, timeout_s: float) -> Iterator[Any]:
    from c360.identity.v1 import matching_pb2_grpc

    from services.cli.client import connect

    with connect("identity") as channel:
        stub: matching_pb2_grpc.MatchingServiceStub = matching_pb2_grpc.MatchingServiceStub(channel)
        yield from paging.entries(getattr(stub, method), request, field, limit, timeout_s)
