"""`c360 identity rules` and `c360 identity simulate`: by which rules identifiers are linked, and what would happen if."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import render
from services.cli.documents import read_document
from services.cli.errors import NotReachable
from services.cli.notation import LogPosition, Person, parse_person
from services.cli.options import (
    DEFAULT_TIMEOUT_S,
    MOST,
    AsJson,
    AsOf,
    Fresh,
    KnownAt,
    PersonRef,
    RequestId,
    TimeoutS,
    parsed_by,
)

if TYPE_CHECKING:
    from c360.identity.v1 import rules_pb2, rules_pb2_grpc

LONG_TIMEOUT_S = 3600.0  # everything that is stored is looked at
COUNTS = ("merges", "splits", "links", "unlinks", "shared", "returned")

app = typer.Typer(no_args_is_help=True, help="The rules by which identifiers are linked, in versions.")
simulation = typer.Typer(
    no_args_is_help=True, help="What would happen if: customers that would merge and split. Nothing is written."
)
OtherRef = Annotated[Person, typer.Argument(metavar="PERSON", parser=parsed_by(parse_person), help="The other one.")]
RulesFile = Annotated[Path, typer.Argument(metavar="FILE", help="The rules, a JSON document (docs/identity-rules.md).")]


@app.command()
def show(
    version: Annotated[int, typer.Option(min=0, max=MOST, help="Default: the one in force.")] = 0,
    shipped: Annotated[bool, typer.Option("--shipped", help="Instead: what this release ships, in force or not.")] = False,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Print rules as a document that can be edited and activated; with --json who put them in force, and how far the graph is.

    Blocked values are printed as keyed hashes: their text is in your file only.
    """
    from c360.identity.v1 import rules_pb2

    from services.cli import messages

    with _rules() as stub:
        answer = stub.GetRules(rules_pb2.GetRulesRequest(version=version), timeout=timeout_s)
    if shipped:
        print(answer.shipped_document)
        return
    if as_json:
        documents = {name: json.loads(getattr(answer, name)) for name in ("document", "shipped_document")}
        render.document(messages.plain(answer) | documents)
        return
    print(answer.document)
    if not answer.rules.settled:
        render.note(f"version {answer.rules.version}: {answer.settled_identifiers} of {answer.identifiers} identifiers follow it")


@app.command("list")
def list_rules(as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """List the versions, with who put them in force and why."""
    from c360.identity.v1 import rules_pb2

    from services.cli import messages

    with _rules() as stub:
        listed = messages.plain(stub.ListRules(rules_pb2.ListRulesRequest(), timeout=timeout_s))["rules"]
    if as_json:
        render.document(listed)
        return
    rows = [(f"v{r['version']}", r["activate_time"], r["activated_by"], r["reason"], _settled(r)) for r in listed]
    render.table("Rules", ("rules", "activated", "by", "reason", "graph"), rows)


@simulation.command("rules")
@app.command()
def check(file: RulesFile, as_json: AsJson = False, timeout_s: TimeoutS = LONG_TIMEOUT_S) -> None:
    """Tell what other rules would change now, with examples; of two, and of the past, `c360 identity why --rules` tells. Nothing is written."""
    from c360.identity.v1 import rules_pb2

    found: rules_pb2.CheckRulesResponse | None = None
    with _rules() as stub:
        for found in stub.CheckRules(rules_pb2.CheckRulesRequest(document=read_document(file)), timeout=timeout_s):
            _tell(found.checked_identifiers, found.identifiers)
    assert found is not None, "the first message comes before the first page"
    _show(found.difference, as_json)


@app.command()
def activate(
    file: RulesFile,
    *,
    by: Annotated[str, typer.Option("--by", help="Who, as an id or a role. Kept for ever.")],
    reason: Annotated[str, typer.Option(help="Why. Kept for ever: name nobody in it.")],
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = LONG_TIMEOUT_S,
) -> None:
    """Put rules in force. New events follow at once; what is there follows by itself (`c360 identity rules show --json`).

    Example:
      c360 identity rules check rules.json && c360 identity rules activate rules.json --by ops --reason "kiosks, ticket 12"
    """
    from c360.identity.v1 import rules_pb2

    from services.cli import messages

    request = rules_pb2.ActivateRulesRequest(
        request_id=request_id or str(uuid4()), document=read_document(file), reason=reason, activated_by=by
    )
    last: rules_pb2.ActivateRulesResponse | None = None
    try:
        with _rules() as stub:
            for last in stub.ActivateRules(request, timeout=timeout_s):
                _tell(last.checked_identifiers, last.identifiers)
    except NotReachable as failure:
        failure.hint = f"They may be in force: repeat the command with --request-id {request.request_id}"
        raise
    assert last is not None, "the last message names the version"
    activated = messages.plain(last.activated)
    if as_json:
        render.document(activated)
        return
    render.facts([("rules", f"v{activated['version']}"), *((name, activated["expected"][name]) for name in COUNTS)])


@app.command("import")
def import_rules(
    segment: Annotated[Path, typer.Option("--segment", metavar="FILE", help="Segment's identity resolution settings, as JSON.")],
) -> None:
    """Print Segment's identity resolution settings as a document of rules, to be checked and activated. Asks no service."""
    from services.cli.segment_rules import printed, to_document

    imported = to_document(read_document(segment))
    for left_out in imported.left_out:
        render.note(f"left out, as it holds under any rules: {left_out}")
    print(printed(imported.document))


@simulation.command("merge")
def simulate_merge(
    one: PersonRef,
    other: OtherRef,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell what would happen if two customers were merged by hand, now or at a past instant.

    --as-of alone is the past with today's knowledge and rules; --known-at alone is what this command would have said then.
    """
    _show(_simulated("MERGE", one, other, as_of, known_at, fresh, timeout_s), as_json)


@simulation.command("forbid")
def simulate_forbid(
    one: PersonRef,
    other: OtherRef,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell what would happen if two customers were forbidden to be one, or one were split, now or at a past instant.

    --as-of alone is the past with today's knowledge and rules; --known-at alone is what this command would have said then.

    Examples:
      c360 identity simulate forbid email:ann@example.com user_id:bob
      c360 identity simulate forbid email:ann@example.com user_id:bob --known-at -7d
    """
    _show(_simulated("FORBID", one, other, as_of, known_at, fresh, timeout_s), as_json)


def _simulated(
    decision: str,
    one: Person,
    other: Person,
    as_of: datetime | None,
    known_at: datetime | None,
    fresh: list[LogPosition] | None,
    timeout_s: float,
) -> rules_pb2.RulesDifference:
    from c360.identity.v1 import rules_pb2

    from services.cli import messages

    request = rules_pb2.SimulateRequest(
        decision=rules_pb2.SimulatedDecision.Value(f"SIMULATED_DECISION_{decision}"),
        one=messages.customer_ref(one),
        other=messages.customer_ref(other),
        at_least_as_fresh=messages.newest(fresh),
        as_of=messages.timestamp(as_of),
        known_at=messages.timestamp(known_at),
    )
    with _rules() as stub:
        return stub.Simulate(request, timeout=timeout_s).difference


def _show(difference: rules_pb2.RulesDifference, as_json: bool) -> None:
    from services.cli import messages

    shown: dict[str, Any] = messages.plain(difference)
    if as_json:
        render.document(shown)
        return
    render.facts([(name, shown[name]) for name in COUNTS])
    rows = [(example["effect"], example["parts"], example["customer_ids"]) for example in shown["examples"]]
    if rows:
        render.table("Examples", ("effect", "parts", "customers"), rows)


def _settled(version: dict[str, Any]) -> str:
    return "follows" if version["settled"] else "not all of it follows"


def _tell(checked: int, of: int) -> None:
    if checked:
        render.note(f"{checked} of {of} identifiers looked at")


@contextmanager
def _rules() -> Iterator[rules_pb2_grpc.RulesServiceStub]:
    from c360.identity.v1 import rules_pb2_grpc

    from services.cli.client import connect

    with connect("identity") as channel:
        yield rules_pb2_grpc.RulesServiceStub(channel)
