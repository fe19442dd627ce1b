"""`c360 lake`: the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli import render
from services.cli.errors import Interrupted, Misused
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, Fresh, PurposeOption, number

app = typer.Typer(no_args_is_help=True, help="The customer log as Parquet tables of a data lake; docs/lake.md lists them.")

DEFAULT_EVERY_S = 60.0
LEAST_EVERY_S = 0.5
MOST_EVERY_S = 86_400.0  # longer, and what is in a day isn't there on the next
GOES_ON = "the same command goes on from here"


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The lake: an empty directory at first.")],
    *,
    purpose: PurposeOption = "audit",
    follow: Annotated[bool, typer.Option("--follow", help="Go on for ever with what is new; Ctrl-C ends it.")] = False,
    every: Annotated[
        float,
        typer.Option(
            "--every",
            min=LEAST_EVERY_S,
            max=MOST_EVERY_S,
            callback=number,
            metavar="SECONDS",
            help="With --follow: how often rows are written.",
        ),
    ] = DEFAULT_EVERY_S,
    fresh: Fresh = None,
    as_json: AsJson = False,
) -> None:
    """Bring a data lake up to what the customer log holds now: Parquet, by table and day, every row exactly once.

    The same command again goes on where it ended or was interrupted; a crash at any moment loses and doubles nothing. Files are there
    whole or not at all, and manifest.json lists those that count. Who doesn't permit --purpose is left out and counted; who was erased since
    the last run, or doesn't permit it any more, is taken out of the files. Where other rules of profiles came into force, customers who have
    other traits by them get a row at that instant. One export at a time writes to a directory.

    Examples:
      c360 lake export /data/lake
      c360 lake export /data/lake --follow --every 300
    """
    try:
        result = _export(directory, purpose, every if follow else None, fresh)
    except KeyboardInterrupt:
        raise Interrupted("INTERRUPTED", GOES_ON) from None
    render.answer(result, as_json)


def _export(directory: Path, purpose: str, every_s: float | None, fresh: Fresh) -> dict[str, str | int]:
    import os

    from c360.profile.v1 import export_pb2

    from services.cli import messages
    from services.cli.importing.parquet_rows import NEEDS_PYARROW
    from shared import faults

    try:
        from services.cli.lake.directory import POINTS, opened
        from services.cli.lake.export import Exporter, stoppable
    except ImportError:
        raise Misused("PYARROW_MISSING", NEEDS_PYARROW) from None
    from services.cli.telling import telling

    faults.arm(os.environ, POINTS)
    request = export_pb2.ExportChangesRequest(purpose=purpose, at_least_as_fresh=messages.positions(fresh))
    with stoppable() as stop, opened(directory, _log_name(), purpose) as lake, telling("exporting") as teller:
        exporter = Exporter(lake, stop, teller)
        if every_s is None:
            exporter.once(request)
            if stop.asked:
                raise Interrupted("INTERRUPTED", GOES_ON)
        else:
            exporter.follow(request, every_s)
        counts, progress, manifest = exporter.counts, exporter.progress, lake.manifest
    return {
        "events": counts.events,
        "rows": counts.rows,
        "erased_customers": counts.erased,
        "no_longer_permitted": counts.taken_out,
        "withheld": counts.withheld,
        "events_a_second": progress.events_a_second,
        "rows_in_the_lake": manifest.rows,
        "files": len(manifest.paths()),
        "recorded_through": manifest.recorded_through,
    }


def _log_name() -> str:
    """Of the installation's customer log, whose checkpoints it stands on: positions of another one mean nothing here."""
    from services.cli.client import connect
    from services.cli.remote_log import RemoteLog

    with connect("profile") as channel:
        listed = RemoteLog(channel, DEFAULT_TIMEOUT_S).describe()
    return listed.partitions[0].origin.rpartition("/")[0]
