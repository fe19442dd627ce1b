"""`c360 export`: the command."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import render
from services.cli.errors import Interrupted, Misused
from services.cli.instants import format_instant, parse_instant
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, Fresh, PurposeOption, parsed_by

if TYPE_CHECKING:
    from c360.profile.v1 import export_pb2

    from services.cli.exporting.files import Writer


def _instant(text: str) -> datetime:
    """Here "now" is an instant like any other: without --since everything is exported."""
    now = datetime.now(UTC)
    return parse_instant(text, now) or now


moment_parser = parsed_by(_instant)

Since = Annotated[
    datetime | None,
    typer.Option(
        metavar="INSTANT",
        parser=moment_parser,
        help="Only what our log took from then on: ISO 8601 (UTC without an offset) or an age.",
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(
        metavar="INSTANT",
        parser=moment_parser,
        help="Only what our log took before then, UTC without an offset. Default: up to now.",
    ),
]


def export(
    source: Annotated[str, typer.Argument(help="The source's name; `c360 sources list` lists them.")],
    *,
    to: Annotated[Path, typer.Option("--to", "-o", metavar="FILE", help="Where to; there whole, or not at all.")],
    purpose: PurposeOption = "audit",
    since: Since = None,
    until: Until = None,
    format_: Annotated[str, typer.Option("--format", metavar="parquet|jsonl|csv", help="Default: by the file's ending.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there already.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="CSV: text that a spreadsheet would run as a formula stays as it is.")] = False,
    fresh: Fresh = None,
    as_json: AsJson = False,
) -> None:
    """Export all events of a source, with all their clocks, as far as purpose and consent allow.

    Events of customers who don't permit the purpose are left out and counted; those of erased customers are redacted.
    docs/import.md lists the columns. An export's --until as the next one's --since leaves out nothing and repeats nothing.

    Examples:
      c360 export shop --to shop.parquet
      c360 export shop --to march.parquet --since 2026-03-01 --until 2026-04-01
    """
    from c360.profile.v1 import export_pb2

    from services.cli import messages
    from services.cli.exporting.files import format_of, writing
    from services.cli.sources import described

    request = export_pb2.ExportEventsRequest(
        source=source,
        purpose=purpose,
        since_time=messages.timestamp(since),
        until_time=messages.timestamp(until),
        at_least_as_fresh=messages.positions(fresh),
    )
    if since and until and since > until:
        raise Misused("INTERVAL_INVALID", f"--since {format_instant(since)} is later than --until {format_instant(until)}")
    began = time.monotonic()
    try:
        with writing(to, format_of(to, format_), raw, force) as writer:
            result = _write_all(request, writer)
            if not result["events"] and not result["withheld"]:
                described(source, DEFAULT_TIMEOUT_S)  # only ingest knows a source that sent nothing from one that isn't
    except KeyboardInterrupt:
        raise Interrupted("INTERRUPTED", f"{to} was not written") from None
    result |= {"file": str(to), "events_a_second": round(int(result["events"]) / max(time.monotonic() - began, 0.001))}
    render.answer(result, as_json)


def _write_all(request: export_pb2.ExportEventsRequest, writer: Writer) -> dict[str, int | str]:
    from services.cli.exporting.columns import to_row
    from services.cli.telling import telling

    events = redacted = withheld = 0
    with telling("exporting") as teller:
        for answer in _answers(request):
            rows = [to_row(event) for event in answer.events]
            writer.write(rows)
            events += len(rows)
            redacted += sum(1 for row in rows if row["redacted"])
            withheld = answer.withheld_count
            teller.tell(answer.read_count / (answer.total_count or 1), f"{events:,} events")
    return {"events": events, "redacted": redacted, "withheld": withheld}


def _answers(request: export_pb2.ExportEventsRequest) -> Iterator[export_pb2.ExportEventsResponse]:
    """Without a deadline: how long it takes depends on how much there is."""
    from c360.profile.v1 import export_pb2_grpc

    from services.cli.client import connect

    with connect("profile") as channel:
        call = export_pb2_grpc.ExportServiceStub(channel).ExportEvents(request)
        try:
            yield from call
        finally:
            call.cancel()
