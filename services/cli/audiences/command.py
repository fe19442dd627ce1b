"""`c360 consent filter`: of the people in a file those who permit a purpose; and for `askable`, those who may be asked."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, NamedTuple

import typer

from services.cli import render
from services.cli.errors import Interrupted, Misused
from services.cli.options import AsJson, PurposeOption
from services.cli.whole_files import whole

if TYPE_CHECKING:
    from services.cli.audiences.asking import Answers, OneCall
    from services.cli.audiences.people import Asked, People
    from services.cli.importing.rows import Row

By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="NAMESPACE[=COLUMN]",
        help="Which column names the people, and what it is: email, or email=contact when the column is called contact. "
        "customer_id=COLUMN for customers' ids.",
    ),
]


def filter_file(
    file: Annotated[Path, typer.Argument(metavar="FILE|-", help="CSV with a header, or JSON Lines; - for stdin.")],
    *,
    purpose: PurposeOption,
    by: By,
    to: Annotated[Path | None, typer.Option("--to", "-o", metavar="FILE", help="For who permits it. Default: stdout.")] = None,
    excluded: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For the others: row, line and reason of each, as JSON Lines.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", metavar="csv|jsonl", help="Default: by the file's ending.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write the rows of a file, as they are, whose people permit a purpose now; the others are counted by reason.

    Rows stay in order, and memory doesn't grow with the file. Files are there whole, or not at all. Who is in neither was never judged.

    Examples:
      c360 consent filter newsletter.csv --purpose marketing --by email -o permitted.csv --excluded others.jsonl
      cat people.jsonl | c360 consent filter - --format jsonl --purpose marketing --by user_id=id
    """
    from services.cli.audiences.asking import permitting

    sifted = Sifted("permitted", file, by, format_, to, excluded)
    sift(sifted, purpose, permitting, as_json)


class Sifted(NamedTuple):
    """What is read and written. `kept` says what holds of those who are kept."""

    kept: str
    file: Path
    by: str
    format: str
    to: Path | None
    excluded: Path | None


def sift(sifted: Sifted, purpose: str, one_call: OneCall, as_json: bool) -> None:
    from services.cli.audiences.asking import answered
    from services.cli.audiences.people import People

    with contextlib.ExitStack() as opened:
        try:
            source = opened.enter_context(source_of(sifted.file))
            out = opened.enter_context(whole(sifted.to)) if sifted.to else sys.stdout.buffer
            others = opened.enter_context(whole(sifted.excluded)) if sifted.excluded else None
            people = People(source, sifted.file, sifted.format, sifted.by)
            counts = _sift(people, lambda batches: answered(batches, purpose, one_call), out, others, sifted.kept)
            out.flush()
        except KeyboardInterrupt:
            raise Interrupted("INTERRUPTED", "nothing was written to files") from None
    _show(counts, sifted.kept, as_json and sifted.to is not None)


def _show(counts: Counter[str], word: str, as_json: bool) -> None:
    kept = counts.pop("", 0)
    if as_json:
        render.document({word.replace(" ", "_"): kept, "excluded": dict(counts.most_common())})
        return
    told = ", ".join(f"{number:,} {reason}" for reason, number in counts.most_common())
    render.note(f"{kept:,} {word}, {counts.total():,} excluded{': ' + told if told else ''}")


def _sift(
    people: People, ask: Callable[[Iterator[list[Asked]]], Answers], out: IO[bytes], others: IO[bytes] | None, word: str
) -> Counter[str]:
    from services.cli.telling import telling

    counts: Counter[str] = Counter()
    out.write(people.header())
    with telling("filtering") as teller:
        for batch, why in ask(people.batches()):
            for asked, reason in zip(batch, why, strict=True):
                if not reason:
                    out.write(people.text(asked.row))
                elif others is not None:
                    others.write(reject_line(asked.row, reason))
            counts.update(why)
            teller.tell(people.rows.share_read(batch[-1].row.after), f"{counts.total():,} rows, {counts['']:,} {word}")
    return counts


def reject_line(row: Row, reason: str) -> bytes:
    import msgspec

    return msgspec.json.encode({"row": row.at.row, "line": row.at.line, "reason": reason}) + b"\n"


@contextmanager
def source_of(path: Path) -> Iterator[IO[bytes]]:
    """What can be read from any place: stdin is copied into a file without a name first."""
    if str(path) != "-":
        try:
            opened = path.open("rb")
        except OSError as error:
            raise Misused("FILE_UNREADABLE", f"{path}: {error.strerror}") from error
        with opened:
            yield opened
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        yield copy
