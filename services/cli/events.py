"""`c360 events`: sends events as a source would."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from services.cli import render
from services.cli.errors import CommandError, Misused
from services.cli.instants import format_instant
from services.cli.notation import NamedIdentifier, Pair
from services.cli.options import (
    DEFAULT_TIMEOUT_S,
    MOST,
    AsJson,
    TimeoutS,
    identifier_parser,
    instant_parser,
    pair_parser,
)

if TYPE_CHECKING:
    from services.cli.segment import Line
    from services.cli.sending import Tally

LISTED_FOR_EYES = 20  # rejections; --json lists more

app = typer.Typer(no_args_is_help=True, help="Send events, a file of them or one, and ask what became of one.")

WriteKey = Annotated[
    str,
    typer.Option(
        "--write-key",
        metavar="KEY",
        help="The source's key. Better in C360_WRITE_KEY, where other users of the machine do not see it; "
        "without both, the embedded stack's own key is taken.",
    ),
]
UserId = Annotated[str, typer.Option("--user-id", "-u", help="The person's id in the source's own system.")]
AnonymousId = Annotated[str, typer.Option("--anonymous-id", "-a", help="The device's id before the person is known.")]
ExternalIds = Annotated[
    list[NamedIdentifier] | None,
    typer.Option("--id", metavar="IDENTIFIER", parser=identifier_parser, help="A further namespace:value. Repeatable."),
]
At = Annotated[
    datetime | None,
    typer.Option(
        metavar="INSTANT",
        parser=instant_parser,
        help="When it happened: ISO 8601 (UTC without an offset) or an age such as -2h. Default: now.",
    ),
]
MessageId = Annotated[str, typer.Option("--message-id", help="Repeating it has no second effect. Made up when absent.")]
PAIR_HELP = "A value is JSON where it is JSON (12.5, true, null, '\"1010\"'), else text. Repeatable."


@app.command()
def send(
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="JSON Lines, or one JSON document; - is standard input.")] = "-",
    write_key: WriteKey = "",
    from_line: Annotated[int, typer.Option(min=1, max=MOST, help="Skip what stands before this line.")] = 1,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Send Segment event objects in batches; each counts once the broker has it on disk.

    Takes one object a line, one object, a list, or {"batch": [...]}. What got no answer is sent again under the same
    message ids, so nothing doubles. Exit code 1 when events were rejected; they are listed with the reason.

    Examples:
      c360 events send export.jsonl
      echo '{"type":"identify","userId":"u1","traits":{"email":"ann@example.com"}}' | c360 events send
    """
    from services.cli.segment import read_lines

    with _opened(file) as stream:
        lines = (line for line in read_lines(stream) if line.number >= from_line)
        _finish(_deliver(lines, write_key, timeout_s, _size(stream)), as_json)


@app.command()
def track(
    name: Annotated[str, typer.Argument(metavar="EVENT", help='What happened, such as "Order Completed".')],
    *,
    user_id: UserId = "",
    anonymous_id: AnonymousId = "",
    ids: ExternalIds = None,
    properties: Annotated[
        list[Pair] | None, typer.Option("--property", "-p", metavar="NAME=VALUE", parser=pair_parser, help=PAIR_HELP)
    ] = None,
    at: At = None,
    message_id: MessageId = "",
    write_key: WriteKey = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Send one thing that a person did, and print its position.

    Example:
      c360 events track --user-id u1 "Order Completed" -p total=12.5 -p currency=EUR
    """
    event = _event("track", user_id=user_id, anonymous_id=anonymous_id, ids=ids, at=at, message_id=message_id) | {
        "event": name,
        "properties": _values(properties),
    }
    _send_one(event, write_key, as_json, timeout_s)


@app.command()
def identify(
    *,
    user_id: UserId = "",
    anonymous_id: AnonymousId = "",
    ids: ExternalIds = None,
    traits: Annotated[
        list[Pair] | None,
        typer.Option("--trait", "-t", metavar="NAME=VALUE", parser=pair_parser, help=f"{PAIR_HELP} null removes a trait."),
    ] = None,
    at: At = None,
    message_id: MessageId = "",
    write_key: WriteKey = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Send what became known of a person, and print its position.

    Example:
      c360 events identify --user-id u1 -t email=ann@example.com -t first_name=Ann
    """
    event = _event("identify", user_id=user_id, anonymous_id=anonymous_id, ids=ids, at=at, message_id=message_id) | {
        "traits": _values(traits)
    }
    _send_one(event, write_key, as_json, timeout_s)


@app.command()
def receipt(
    message_id: Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="As the source sent it.")],
    write_key: WriteKey = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell what became of an event: accepted, rejected or quarantined, and the customer it went to.

    Only the source that sent an event is told, so its write key decides which message ids there are.

    Example:
      c360 events receipt 6f0c2a1e-order-4711
    """
    from c360.ingest.v1 import receipt_pb2, receipt_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    with connect("ingest") as channel:
        stub = receipt_pb2_grpc.ReceiptServiceStub(channel)
        request = receipt_pb2.GetReceiptRequest(message_id=message_id)
        answer = stub.GetReceipt(request, timeout=timeout_s, metadata=_authorization(write_key))
    shown = messages.plain(answer.receipt)
    if as_json:
        render.document(shown)
        return
    names = ("status", "reasons", "customer_id", "position", "duplicates", "last_duplicate_time")
    render.facts((name.replace("_", " "), shown[name] or None) for name in names)


def _event(
    kind: str,
    *,
    user_id: str,
    anonymous_id: str,
    ids: list[NamedIdentifier] | None,
    at: datetime | None,
    message_id: str,
) -> dict[str, Any]:
    external = [{"type": item.namespace, "id": item.value, "collection": "users", "encoding": "none"} for item in ids or ()]
    return {
        "type": kind,
        "userId": user_id,
        "anonymousId": anonymous_id,
        "messageId": message_id,
        "timestamp": format_instant(at) if at else None,
        "context": {"externalIds": external} if external else None,
    }


def _values(pairs: list[Pair] | None) -> dict[str, Any]:
    return {pair.name: pair.value for pair in pairs or ()}


def _send_one(event: dict[str, Any], write_key: str, as_json: bool, timeout_s: float) -> None:
    from services.cli.segment import Line

    _finish(_deliver([Line(1, 0, event)], write_key, timeout_s, size_bytes=None), as_json)


def _deliver(lines: Iterable[Line], write_key: str, timeout_s: float, size_bytes: int | None) -> Tally:
    from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc

    from services.cli import sending
    from services.cli.client import connect

    metadata = _authorization(write_key)
    tally = sending.Tally()

    try:
        with connect("ingest") as channel:
            stub = ingest_pb2_grpc.IngestServiceStub(channel)

            def record(request: ingest_pb2.RecordEventsRequest) -> ingest_pb2.RecordEventsResponse:
                return stub.RecordEvents(request, timeout=timeout_s, metadata=metadata)

            _follow(sending.send(lines, record, tally), size_bytes)
    except CommandError as failure:
        if 0 < tally.answered_line < tally.pending_line:
            failure.hint = f"Up to here {tally.accepted} were accepted; go on with --from-line {tally.pending_line}"
        raise
    return tally


def _authorization(write_key: str) -> tuple[tuple[str, str], ...]:
    from services.cli.endpoints import find_write_key

    return (("authorization", f"Bearer {write_key or find_write_key(os.environ)}"),)


def _follow(tallies: Iterator[Tally], size_bytes: int | None) -> None:
    """Draws progress on a terminal's stderr; in a pipe it stays silent."""
    if not sys.stderr.isatty():
        for _ in tallies:
            pass
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sending", total=size_bytes)
        for tally in tallies:
            text = f"{tally.accepted} accepted, {tally.rejected.total()} rejected"
            progress.update(task, description=text, completed=tally.bytes_done)


def _finish(tally: Tally, as_json: bool) -> None:
    rejected = tally.rejected.total()
    if as_json:
        render.document(tally.as_data())
    else:
        others = [
            ("duplicate", tally.duplicate or None),
            ("quarantined", tally.quarantined or None),
            ("rejected", rejected or None),
        ]
        render.facts([("accepted", tally.accepted), *others, ("position", tally.position_texts())])
    _list_rejections(tally)
    if rejected:
        raise typer.Exit(1)


def _list_rejections(tally: Tally) -> None:
    for rejection in tally.in_line_order()[:LISTED_FOR_EYES]:
        told = (f"line {rejection.line}: {rejection.reason}", rejection.field, rejection.message_id)
        render.note(render.printable(" ".join(part for part in told if part)))
    if tally.rejected.total() > LISTED_FOR_EYES:
        counts = ", ".join(f"{reason} {count}" for reason, count in tally.rejected.most_common())
        render.note(f"and more; in all: {counts}")


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        if sys.stdin.isatty():
            render.note("reading events from standard input; Ctrl-D ends it")
        yield sys.stdin.buffer
        return
    try:
        stream = open(file, "rb")  # noqa: SIM115 (closed below; here only the opening may fail)
    except OSError as error:
        raise Misused("FILE_UNREADABLE", f"{file}: {error.strerror}") from error
    with stream:
        yield stream


def _size(stream: IO[bytes]) -> int | None:
    try:
        return os.fstat(stream.fileno()).st_size or None
    except OSError:  # a stream without a file behind it
        return None
