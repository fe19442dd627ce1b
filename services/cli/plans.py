"""`c360 plans`: tracking plans, what breaks them, and what waits for a better one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import render
from services.cli.errors import Misused
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, RequestId, SourceName, TimeoutS

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
    after: Annotated[int | None, typer.Option(help="Refuse when this isn't the newest version any more.")] = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Hold a source to a new version of its plan, from the next request on."""
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    request = plan_pb2.PublishPlanRequest(
        request_id=request_id or str(uuid4()), source=name, document=_read(file), after_version=after
    )
    with _plans() as stub:
        answer = messages.plain(stub.PublishPlan(request, timeout=timeout_s))
    render.document(answer) if as_json else render.facts(
        [("plan", f"{name} v{answer['version']}"), ("position", answer["position"])]
    )


@app.command()
def show(
    name: SourceName,
    version: Annotated[int, typer.Option(help="Default: the newest.")] = 0,
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
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many to show.")] = 50,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List the events that wait, oldest first: what they break, never what is in them."""
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    with _plans() as stub:
        answer = stub.ListQuarantined(plan_pb2.ListQuarantinedRequest(source=name, page_size=limit), timeout=timeout_s)
    shown = messages.plain(answer)
    if as_json:
        render.document(shown)
        return
    rows = [(event["receive_time"], f"v{event['plan_version']}", event["rules"], event["event_id"]) for event in shown["events"]]
    render.table(f"Quarantine: {shown['total']} events", ("received", "plan", "rules", "event id"), rows)


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
def check(
    name: SourceName,
    file: PlanFile,
    events: Annotated[Path | None, typer.Option(help="Calls as the source sends them, one JSON object a line.")] = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = LONG_TIMEOUT_S,
) -> None:
    """Tell what a plan would do to what waits, and to sample events. Nothing is written.

    Example:
      c360 plans check shop plan.json --events samples.jsonl
    """
    from c360.ingest.v1 import plan_pb2

    from services.cli import messages

    samples = [line for line in _read(events).splitlines() if line.strip()] if events else []
    if len(samples) > MAX_SAMPLES:
        raise Misused("BATCH_TOO_LONG", f"a check takes at most {MAX_SAMPLES} events; give a part of the file")
    request = plan_pb2.CheckPlanRequest(source=name, document=_read(file), events=samples)
    with _plans() as stub:
        answer = messages.plain(stub.CheckPlan(request, timeout=timeout_s))
    if as_json:
        render.document(answer)
        return
    words = ("accepted", "flagged", "quarantined", "rejected", "lost")
    rows = [(what, *(tally[word] for word in words), _rules(tally)) for what, tally in answer.items() if tally]
    render.table("It would do", ("to", *words, "rules"), rows)


def _rules(tally: dict[str, Any]) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in tally["rules"].items())


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misused("FILE_UNREADABLE", f"{file}: {error}") from error


@contextmanager
def _plans() -> Iterator[plan_pb2_grpc.PlanServiceStub]:
    from c360.ingest.v1 import plan_pb2_grpc

    from services.cli.client import connect

    with connect("ingest") as channel:
        yield plan_pb2_grpc.PlanServiceStub(channel)
