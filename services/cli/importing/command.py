"""`c360 import`: the command and its wiring."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from services.cli import render
from services.cli.errors import Interrupted

WriteKey = Annotated[
    str,
    typer.Option(
        "--write-key",
        "--source-key",
        metavar="KEY",
        help="The source's key. Better in C360_WRITE_KEY, where other users of the machine do not see it; "
        "without both, the embedded stack's own key is taken.",
    ),
]


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header, JSON Lines, or Parquet.")],
    *,
    mapping: Annotated[
        Path, typer.Option("--mapping", "-m", metavar="MAPPING.json", help="Which column is what; see docs/import.md.")
    ],
    write_key: WriteKey = "",
    url: Annotated[str, typer.Option(help="Ingest's HTTP door. Default: C360_INGEST_URL, or what the stack wrote down.")] = "",
    format_: Annotated[str, typer.Option("--format", metavar="csv|jsonl|parquet", help="Default: by the file's ending.")] = "",
    state_dir: Annotated[
        Path | None, typer.Option(help="Where FILE.progress.json and FILE.rejects.jsonl go. Default: beside the file.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin at the first row, whatever was imported before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and map every row, list the rejects, send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for scripts instead of tables.")] = False,
) -> None:
    """Import a file of rows as events of a source. The same command again goes on where it was interrupted.

    Every row's event has a message id that follows from the file's content and the row's number, or comes from a column: nothing
    doubles, even without the progress file. Rows of one person stay in order. Memory doesn't grow with the file.
    Rejected rows are listed in FILE.rejects.jsonl by number and reason; exit code 1 when there are any.

    Examples:
      c360 import customers.csv --mapping customers.mapping.json
      c360 import orders.parquet -m orders.mapping.json --dry-run
    """
    from services.cli.importing.job import Job, Options
    from services.cli.importing.ledger import QUARANTINED

    options = Options(file, mapping, write_key, url, format_, state_dir or file.parent, restart, dry_run)
    try:
        with Job.open(options, os.environ) as job:
            if job.kept:
                render.note(f"an earlier import of other content, mapping or write key is kept in {job.kept}")
            if job.is_done:
                render.note(f"{file} was imported before; --restart sends it again")
            else:
                job.run()
            result = job.result()
    except KeyboardInterrupt:
        raise Interrupted("INTERRUPTED", "the same command goes on from here") from None
    render.answer(result, as_json)
    if quarantined := result.get(QUARANTINED):
        render.note(f"{quarantined:,} rows wait: `c360 plans quarantine SOURCE` says what they break of its tracking plan")
    if result["rejected"]:
        raise typer.Exit(1)
