"""`c360 identity match`: who is likely whom, though no identifier says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import identity_models, notation, paging, render
from services.cli.notation import Person
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, Fresh, PersonRef, TimeoutS, parsed_by

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
    one: PersonRef, other: OtherRef, fresh: Fresh = None, as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S
) -> None:
    """Show what speaks for and against two being one person, in parts that add up. No value is shown."""
    from c360.identity.v1 import matching_pb2

    from services.cli import messages

    request = matching_pb2.ExplainMatchRequest(
        one=messages.customer_ref(one), other=messages.customer_ref(other), at_least_as_fresh=messages.newest(fresh)
    )
    answer = _ask("ExplainMatch", request, timeout_s)
    if as_json:
        render.document(answer)
        return
    if not answer["comparisons"]:
        render.note("nothing that can be compared was said of one of them")
    for comparison in answer["comparisons"][:COMPARISONS_SHOWN]:
        _show(comparison)


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


def _show(comparison: dict[str, Any]) -> None:
    ends = " and ".join(f"{comparison[end]['customer_id']} ({comparison[end]['source']})" for end in ("one", "other"))
    says = comparison["veto"] or {"link": "one person", "review": "a question for people"}.get(comparison["band"], "nothing")
    rows = [("before anything is compared", "", f"{comparison['prior_weight']:+.2f}")]
    for part in comparison["parts"]:
        rows.append((part["comparison"], part["level"], f"{part['weight'] + part['term_weight']:+.2f}"))
    rows.append(("together", says, f"{comparison['weight']:+.2f}"))
    if comparison["unrivalled_weight"] != comparison["weight"]:
        rows.append(
            ("if neither could be anybody else", "each source has a person once", f"{comparison['unrivalled_weight']:+.2f}")
        )
    render.table(ends, ("comparison", "level", "bits"), rows)
