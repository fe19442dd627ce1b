"""`c360 parked`: what a service could not apply and set aside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import paging, render
from services.cli.endpoints import Service
from services.cli.errors import Misused
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, TimeoutS

if TYPE_CHECKING:
    from c360.parked.v1 import parked_pb2

PARKING: tuple[Service, ...] = ("identity", "profile")
COLUMNS = ("parked", "reason", "from", "type", "attempts", "id")

app = typer.Typer(
    no_args_is_help=True, help="What could not be opened or decoded and was set aside: list it, try it again, give it up."
)


def _service(text: str) -> Service:
    for service in PARKING:
        if text == service:
            return service
    raise typer.BadParameter(f"these services park: {', '.join(PARKING)}")


ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", parser=_service, help="identity or profile.")]


@app.command("list")
def list_parked(
    service: ServiceName,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show, oldest first.")] = 50,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List what a service has parked, with the reason. With --json: one line each."""
    from services.cli import messages

    listed = (messages.plain(one) for one in _pages(_as_service(service), limit, timeout_s))
    if as_json:
        for one in listed:
            render.line(one)
        return
    rows = [
        (p["park_time"], p["reason"], f"{p['stream']} {p['sequence']}/{p['part']}", p["type_id"], p["attempts"], p["parked_id"])
        for p in listed
    ]
    render.table(f"Parked by {service}", COLUMNS, rows)


@app.command()
def show(
    service: ServiceName,
    parked_id: Annotated[str, typer.Argument(metavar="ID", help="As `c360 parked list` shows it.")],
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Show where one came from and why it is parked; never what it holds."""
    from c360.parked.v1 import parked_pb2, parked_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    with connect(_as_service(service)) as channel:
        stub = parked_pb2_grpc.ParkedServiceStub(channel)
        answer = stub.GetParked(parked_pb2.GetParkedRequest(parked_id=parked_id), timeout=timeout_s)
    render.answer(messages.plain(answer.parked), as_json)


@app.command()
def replay(
    service: ServiceName,
    parked_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `c360 parked list` shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is parked, instead of ids.")] = False,
    as_json: AsJson = False,
    timeout_s: TimeoutS = 60.0,
) -> None:
    """Try parked ones again, as if they had come now. Exit code 1 when any of them stays parked, or wasn't parked at all."""
    from services.cli import messages

    if everything == bool(parked_ids):
        raise Misused("PARKED_ID_MISSING", "give ids, or --all")
    results = [messages.plain(result) for result in _replay(_as_service(service), parked_ids or [], timeout_s)]
    if as_json:
        render.document(results)
    else:
        render.table("Replayed", ("outcome", "reason", "stands at", "id"), [_row(result) for result in results])
    if any(result["outcome"] != "applied" for result in results):
        raise typer.Exit(1)


@app.command()
def discard(
    service: ServiceName,
    parked_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `c360 parked list` shows them.")],
    *,
    reason: Annotated[str, typer.Option(help="Why. It stands in the service's log: name nobody in it.")],
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Give parked ones up for ever: what they held has no effect. Stops at the first that isn't parked (any more).

    Example:
      c360 parked discard identity 6f0c... --reason "not ours, ticket 4711"
    """
    from c360.parked.v1 import parked_pb2, parked_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    with connect(_as_service(service)) as channel:
        stub = parked_pb2_grpc.ParkedServiceStub(channel)
        for parked_id in parked_ids:
            request = parked_pb2.DiscardParkedRequest(parked_id=parked_id, reason=reason)
            gone = messages.plain(stub.DiscardParked(request, timeout=timeout_s).parked)
            render.line(gone) if as_json else print(f"discarded {gone['parked_id']}, parked for {gone['reason']}")


def _row(result: dict[str, Any]) -> tuple[Any, ...]:
    return result["outcome"], result["reason"], result["positions"], result["parked_id"]


def _as_service(name: str) -> Service:
    return _service(name)


def _pages(service: Service, limit: int, timeout_s: float) -> Iterator[parked_pb2.Parked]:
    from c360.parked.v1 import parked_pb2, parked_pb2_grpc

    from services.cli.client import connect

    request = parked_pb2.ListParkedRequest()
    with connect(service) as channel:
        stub = parked_pb2_grpc.ParkedServiceStub(channel)
        yield from paging.entries(stub.ListParked, request, "parked", limit, timeout_s)


def _replay(service: Service, parked_ids: list[str], timeout_s: float) -> Iterator[parked_pb2.ReplayResult]:
    from c360.parked.v1 import parked_pb2, parked_pb2_grpc

    from services.cli.client import connect

    request = parked_pb2.ReplayParkedRequest(parked_ids=parked_ids, all=not parked_ids)
    with connect(service) as channel:
        stub = parked_pb2_grpc.ParkedServiceStub(channel)
        while True:
            answer = stub.ReplayParked(request, timeout=timeout_s)
            yield from answer.results
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                return
