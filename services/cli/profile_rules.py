"""`c360 profile rules` and `c360 whatif`: by which rules profiles are made, and what others would change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import paging, render
from services.cli.documents import read_document
from services.cli.errors import NotReachable
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, PurposeOption, RequestId, TimeoutS

if TYPE_CHECKING:
    from c360.profile.v1 import rules_pb2, rules_pb2_grpc

LONG_TIMEOUT_S = 3600.0  # every profile is made twice
MOST_EXAMPLES = 100
PROGRESS_LINES = 20
WITHHELD = "not seen by the purpose"

app = typer.Typer(no_args_is_help=True, help="The rules by which profiles are made, in versions.")
CountedFor = Annotated[
    str, typer.Option("--purpose", "-P", metavar="NAME", help="With --json: also what they were said to change, as counted for it.")
]
RulesFile = Annotated[Path, typer.Argument(metavar="FILE", help="The rules, a JSON document (docs/profile-rules.md).")]


@app.command()
def show(
    version: Annotated[int, typer.Option(min=0, max=MOST, help="Default: the one in force.")] = 0,
    *,
    purpose: CountedFor = "",
    shipped: Annotated[bool, typer.Option("--shipped", help="Instead: what this release ships, in force or not.")] = False,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Print rules as a document that can be edited and activated; with --json who put them in force, and what follows them."""
    from c360.profile.v1 import rules_pb2

    from services.cli import messages

    with profile_rules() as stub:
        answer = stub.GetRules(rules_pb2.GetRulesRequest(version=version, purpose=purpose), timeout=timeout_s)
    if shipped:
        print(answer.shipped_document)
        return
    if as_json:
        documents = {name: json.loads(getattr(answer, name)) for name in ("document", "shipped_document")}
        render.document(messages.plain(answer) | documents)
        return
    print(answer.document)
    if not answer.rules.settled:
        render.note(f"version {answer.rules.version}: {answer.settled_states} of {answer.states} states follow the rules in force")


@app.command("list")
def list_rules(
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many versions to show, latest first.")] = 50,
    purpose: CountedFor = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List the versions, latest first, with who put them in force and why. With --json: one line per version."""
    from c360.profile.v1 import rules_pb2

    from services.cli import messages

    with profile_rules() as stub:
        found = paging.entries(stub.ListRules, rules_pb2.ListRulesRequest(purpose=purpose), "rules", limit, timeout_s)
        listed = [messages.plain(version) for version in found]
    if as_json:
        for version in listed:
            render.line(version)
        return
    rows = [(f"v{r['version']}", r["activate_time"], r["activated_by"], r["reason"], _follows(r)) for r in listed]
    render.table("Rules", ("rules", "activated", "by", "reason", "states"), rows)


@app.command()
def activate(
    file: RulesFile,
    *,
    by: Annotated[str, typer.Option("--by", help="Who, as an id or a role. Kept for ever.")],
    reason: Annotated[str, typer.Option(help="Why. Kept for ever: name nobody in it.")],
    purpose: Annotated[
        str, typer.Option("--purpose", "-P", metavar="NAME", help="Count first what they change, for this purpose, and keep that.")
    ] = "",
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = LONG_TIMEOUT_S,
) -> None:
    """Put rules in force. Every profile is made by them from then on; what it takes follows by itself (`rules show`).

    Example:
      c360 profile rules activate rules.json --by ops --reason "billing knows the plan, ticket 12" --purpose audit
    """
    from c360.profile.v1 import rules_pb2

    from services.cli import messages

    request = rules_pb2.ActivateRulesRequest(
        request_id=request_id or str(uuid4()), document=read_document(file), reason=reason, activated_by=by, purpose=purpose
    )
    last: rules_pb2.ActivateRulesResponse | None = None
    tell = _Told()
    try:
        with profile_rules() as stub:
            for last in stub.ActivateRules(request, timeout=timeout_s):
                tell(last)
    except NotReachable as failure:
        failure.hint = f"They may be in force: repeat the command with --request-id {request.request_id}"
        raise
    assert last is not None, "the last message names the version"
    activated = messages.plain(last.activated)
    if as_json:
        render.document(activated)
        return
    render.facts([("rules", f"v{activated['version']}")])
    if activated["expected"] is not None:
        _show(activated["expected"])


def whatif(
    file: RulesFile,
    *,
    purpose: PurposeOption,
    examples: Annotated[int, typer.Option(min=1, max=MOST_EXAMPLES, help="How many changed values, and moves, to show.")] = 10,
    as_json: AsJson = False,
    timeout_s: TimeoutS = LONG_TIMEOUT_S,
) -> None:
    """Tell what other rules would change in all profiles, and who would enter and leave segments. Nothing is written.

    It is counted for a purpose: without customers who don't permit it, and without what it may not see.

    Examples:
      c360 profile rules show > rules.json
      c360 whatif rules.json --purpose audit
    """
    from c360.profile.v1 import rules_pb2

    from services.cli import messages

    request = rules_pb2.SimulateRulesRequest(document=read_document(file), examples=examples, purpose=purpose)
    last: rules_pb2.SimulateRulesResponse | None = None
    tell = _Told()
    with profile_rules() as stub:
        for last in stub.SimulateRules(request, timeout=timeout_s):
            tell(last)
    assert last is not None, "the first message comes before the first page"
    shown = messages.plain(last)
    if as_json:
        render.document(shown)
        return
    _show(shown["difference"])
    if shown["examples"]:
        rows = [(e["trait"], _chosen(e["before"]), _chosen(e["after"]), e["customer_id"]) for e in shown["examples"]]
        render.table("Examples of values", ("trait", "now", "then", "customer"), rows)
    if shown["moves"]:
        moves = [(m["segment"], "enters" if m["entered"] else "leaves", m["customer_id"]) for m in shown["moves"]]
        render.table("Examples of moves", ("segment", "then", "customer"), moves)
    for hint in shown["hints"]:
        render.note(f"Hint: {_hint(hint)}")


def _hint(hint: dict[str, Any]) -> str:
    value = "" if hint["value"] is None else json.dumps(hint["value"], ensure_ascii=False)
    told = {
        "TRAIT_OF_NOBODY": f"nobody has {hint['path']}",
        "VALUE_OF_NOBODY": f"of nobody {hint['path']} is, or holds, {value}",
        "NO_EVENT_COUNTS": "no event counts for it",
        "INSTANT_PASSED": f"it asks for {hint['path']} to be before {value}, which has passed",
    }
    return f"{hint['definition']}: {told.get(hint['reason'], hint['reason'])}"


def _show(difference: dict[str, Any]) -> None:
    counts = [("customers", "customers"), ("of those changed", "changed_customers"), ("not permitting it", "withheld_customers")]
    render.facts([(name, difference[field]) for name, field in counts])
    if difference["traits"] or difference["withheld_traits"]:
        rows = sorted(difference["traits"].items(), key=lambda item: (-item[1], item[0]))
        rows += [("others" if name == "*" else name, WITHHELD) for name in difference["withheld_traits"]]
        render.table("Customers with another value", ("trait", "customers"), rows)
    if difference["cut_traits"]:
        rows = sorted(difference["cut_traits"].items(), key=lambda item: (-item[1], item[0]))
        render.table("Customers whose value is made of less than all", ("trait", "customers"), rows)
    if difference["segments"] or difference["withheld_segments"]:
        moves = [
            (name, one["entered"], one["left"], one["members"], one["judged_by_less"])
            for name, one in sorted(difference["segments"].items())
        ]
        moves += [(name, WITHHELD, "", "", "") for name in difference["withheld_segments"]]
        render.table("Segments", ("segment", "enter", "leave", "then in it", "judged by less"), moves)


def _chosen(chosen: dict[str, Any] | None) -> str:
    if chosen is None:
        return "nothing"
    value = "" if chosen["value"] is None else f"{json.dumps(chosen['value'], ensure_ascii=False)} "
    return f"{value}({chosen['source']}{', cut' if chosen['cut'] else ''})"


def _follows(version: dict[str, Any]) -> str:
    return "follow" if version["settled"] else "not all of them follow"


class _Told:
    """How far it is, in a few lines however many there are."""

    def __init__(self) -> None:
        self._steps = 0

    def __call__(self, step: rules_pb2.SimulateRulesResponse | rules_pb2.ActivateRulesResponse) -> None:
        if step.waiting:
            render.note("other rules are being tried; these wait for their turn")
        steps = step.checked_states * PROGRESS_LINES // max(step.states, 1)
        if steps > self._steps:
            render.note(f"{step.checked_states} of {step.states} states looked at")
        self._steps = steps


@contextmanager
def profile_rules() -> Iterator[rules_pb2_grpc.ProfileRulesServiceStub]:
    from c360.profile.v1 import rules_pb2_grpc

    from services.cli.client import connect

    with connect("profile") as channel:
        yield rules_pb2_grpc.ProfileRulesServiceStub(channel)
