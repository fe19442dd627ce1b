"""`c360 plans`: tracking plans, what breaks them, and what waits for a better one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import render
from services.cli.documents import read_document
from services.cli.errors import Misused
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, RequestId, SourceName, TimeoutS

if TYPE_CHECKING:
    from c360.ingest.v1 import plan_pb2_grpc

LONG_TIMEOUT_S = 300.0  # a quarantine may be large
MAX_SAMPLES = 2_500

app = typer.Typer(no_args_is_help=True, help="Tracking plans: what a source may send, what breaks them, what waits.")
PlanFile = Annotated[Path, typer.Argument(metavar="FILE", help="The plan, a JSON document (docs/tracking-plans.md).")]


@app.command()
def publish(
    name: SourceName,
    file: PlanFile,
    after: Annotated[int | None, typer.Option(min=0, max=MOST, help="Refuse when this isn't the newest version any more.")] = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Hold a source to a new version of its plan, from the next request on."""
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    request = plan_pb2.PublishPlanRequest(
        request_id=request_id or str(uuid4()), source=name, document=read_document(file), after_version=after
    )
    with _plans() as stub:
        answer = messages.plain(stub.PublishPlan(request, timeout=timeout_s))
    render.document(answer) if as_json else render.facts(
        [("plan", f"{name} v{answer['version']}"), ("position", answer["position"])]
    )


@app.command()
def show(
    name: SourceName,
    version: Annotated[int, typer.Option(min=0, max=MOST, help="Default: the newest.")] = 0,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Print a plan as it was published; with --json its version and time too."""
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    with _plans() as stub:
        answer = stub.GetPlan(plan_pb2.GetPlanRequest(source=name, version=version), timeout=timeout_s)
    render.document(messages.plain(answer)) if as_json else print(answer.document)


@app.command("list")
def list_plans(
    name: Annotated[str, typer.Argument(metavar="[SOURCE]", help="Default: all.")] = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List the versions of plans, newest first."""
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    with _plans() as stub:
        answer = stub.ListPlans(plan_pb2.ListPlansRequest(source=name), timeout=timeout_s)
    listed = [messages.plain(plan) for plan in answer.plans]
    if as_json:
        render.document(listed)
        return
    render.table("Plans", ("source", "version", "published"), [(p["source"], p["version"], p["publish_time"]) for p in listed])


@app.command()
def violations(name: SourceName, as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """Count what broke which rule of which version."""
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    with _plans() as stub:
        answer = stub.ListViolations(plan_pb2.ListViolationsRequest(source=name), timeout=timeout_s)
    listed = [messages.plain(violation) for violation in answer.violations]
    if as_json:
        render.document(listed)
        return
    columns = ("plan", "rule", "place", "action", "events", "last seen")
    render.table("Violations", columns, [[f"v{v['plan_version']}", *list(v.values())[1:]] for v in listed])


@app.command()
def quarantine(
    name: SourceName,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many to show.")] = 50,
    after: Annotated[str, typer.Option(metavar="TOKEN", help="Go on where an earlier list ended, which named this token.")] = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List the events that wait, oldest first: what they break of the newest plan, and where. Never what is in them.

    Without breaches the newest plan would take them: `c360 plans replay SOURCE`.
    """
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    request = plan_pb2.ListQuarantinedRequest(source=name, page_size=limit, page_token=after)
    with _plans() as stub:
        shown = messages.plain(stub.ListQuarantined(request, timeout=timeout_s))
    if as_json:
        render.document(shown)
        return
    rows = [
        (event["receive_time"], f"v{event['plan_version']}", event["message_id"], event["name"] or event["type"], _state(event))
        for event in shown["events"]
    ]
    title = f"Quarantine of {name}: {shown['total']} events"
    render.table(title, ("received", "plan", "message id", "event", "breaks the newest plan"), rows)
    if shown["next_page_token"]:
        render.note(f"more: --after {shown['next_page_token']}")


def _state(event: dict[str, Any]) -> str:
    if event["lost"]:
        return f"lost: its key is gone ({', '.join(event['rules'])})"
    return _breaches(event) or "no more: replay it"


def _breaches(event: dict[str, Any]) -> str:
    """RULE pointer (place in the plan), ..."""
    found = [
        " ".join(part for part in (each["rule"], each["pointer"], f"({each['place']})" if each["place"] else "") if part)
        for each in event["breaches"]
    ]
    return "; ".join([*found, *([f"{event['unlisted_breaches']} more"] if event["unlisted_breaches"] else [])])


@app.command()
def replay(name: SourceName, as_json: AsJson = False, timeout_s: TimeoutS = LONG_TIMEOUT_S) -> None:
    """Judge what waits by the newest plan; what it takes goes on at its own place and time. Exit code 1 when some stay."""
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    with _plans() as stub:
        answer = messages.plain(stub.ReplayQuarantined(plan_pb2.ReplayQuarantinedRequest(source=name), timeout=timeout_s))
    tally = answer["tally"]
    if as_json:
        render.document(answer)
    else:
        gone = tally["accepted"] + tally["flagged"]
        stay = tally["quarantined"] + tally["rejected"] + tally["lost"]
        render.facts([("went on", gone), ("stay", stay), ("rules", _rules(tally)), ("position", answer["position"])])
    if tally["quarantined"] + tally["rejected"] + tally["lost"]:
        raise typer.Exit(1)


@app.command()
def discard(
    name: SourceName,
    message_ids: Annotated[list[str], typer.Argument(metavar="MESSAGE_ID...", help="As `c360 plans quarantine` lists them.")],
    *,
    reason: Annotated[str, typer.Option(help="Why. It stands in the service's log: name nobody in it.")],
    by: Annotated[str, typer.Option("--by", help="Who does it, as an id or a role. It stands in the service's log.")],
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Give up events that wait, for ever: they have no effect, and their receipts say so. Exit code 1 when some didn't wait.

    Example:
      c360 plans discard shop 6f0c... --reason "sent by a test, ticket 4711" --by data-desk
    """
    from c360.ingest.v1 import plan_pb2

    request = plan_pb2.DiscardQuarantinedRequest(source=name, message_ids=message_ids, reason=reason, discarded_by=by)
    with _plans() as stub:
        gone = list(stub.DiscardQuarantined(request, timeout=timeout_s).discarded_message_ids)
    outcomes = {message_id: "discarded" if message_id in gone else "not waiting" for message_id in message_ids}
    rows = [{"message_id": message_id, "outcome": outcome} for message_id, outcome in outcomes.items()]
    render.document(rows) if as_json else render.table("Discarded", ("message id", "outcome"), list(outcomes.items()))
    if len(gone) < len(outcomes):
        raise typer.Exit(1)


@app.command()
def check(
    source_or_file: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", show_default=False, help="Whose quarantine, region and allowed types count. Default: a new one's."
        ),
    ] = "",
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", show_default=False, help="The plan, a JSON document; has to be named.")
    ] = None,
    events: Annotated[Path | None, typer.Option(help="Calls as the source sends them, one JSON object a line.")] = None,
    details: Annotated[
        bool, typer.Option("--details", help="The verdict on each of these events, and where it breaks what.")
    ] = False,
    as_json: AsJson = False,
    timeout_s: TimeoutS = LONG_TIMEOUT_S,
) -> None:
    """Tell what a plan would do to what waits, and to sample events. Nothing is written. Exit code 1 when it is no plan.

    Example:
      c360 plans check plan.json
      c360 plans check shop plan.json --events samples.jsonl --details
    """
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    if not source_or_file:
        raise Misused("FILE_MISSING", "name the plan's FILE, alone or after a SOURCE")
    source, plan = (source_or_file, file) if file else ("", Path(source_or_file))
    samples = (
        [(number, line) for number, line in enumerate(read_document(events).splitlines(), 1) if line.strip()] if events else []
    )
    if len(samples) > MAX_SAMPLES:
        raise Misused("BATCH_TOO_LONG", f"a check takes at most {MAX_SAMPLES} events; give a part of the file")
    request = plan_pb2.CheckPlanRequest(
        source=source, document=read_document(plan), events=[line for _, line in samples], details=details
    )
    with _plans() as stub:
        answer = messages.plain(stub.CheckPlan(request, timeout=timeout_s))
    answer["checked"] = [{"line": line, **each} for (line, _), each in zip(samples, answer["checked"], strict=details)]
    if as_json:
        render.document(answer)
        return
    words = ("accepted", "flagged", "quarantined", "rejected", "lost")
    tallies = [(what, answer[what]) for what in ("quarantine", "events")]
    rows = [(what, *(tally[word] for word in words), _rules(tally)) for what, tally in tallies if tally]
    render.table("It would do", ("to", *words, "rules"), rows)
    if details:
        each = [
            (event["line"], event["message_id"], event["status"], event["reason"] or _breaches(event))
            for event in answer["checked"]
        ]
        render.table("Events", ("line", "message id", "verdict", "breaks"), each)


def _rules(tally: dict[str, Any]) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in tally["rules"].items())


@contextmanager
def _plans() -> Iterator[plan_pb2_grpc.PlanServiceStub]:
    from c360.ingest.v1 import plan_pb2_grpc

    from services.cli.client import connect

    with connect("ingest") as channel:
        yield plan_pb2_grpc.PlanServiceStub(channel)
