"""`c360 rights report`: the command."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from services.cli import messages, render, rights_calls
from services.cli.errors import Misused, Refused
from services.cli.instants import format_instant
from services.cli.options import AsJson, TimeoutS
from services.cli.rights_report import report as forms
from services.cli.rights_report.gathering import gather
from services.cli.rights_report.html_page import to_html
from services.cli.rights_report.pdf_page import to_pdf
from services.cli.rights_report.sections import sections_of
from services.cli.rights_words import By, Reason, Request

GATHER_TIMEOUT_S: Final = 30.0  # of each call
TITLE: Final = "What we know of you"
MADE_FOR: Final = ("access", "portability")


def report(
    rights_request: Request,
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to; it must not exist. There whole, or not at all.")
    ],
    by: By,
    reason: Reason,
    purpose: Annotated[
        str, typer.Option("--purpose", "-P", metavar="NAME", help="Which purpose it is read for: one that sees everything.")
    ] = "audit",
    pdf: Annotated[bool, typer.Option(help="Also as PDF.")] = True,
    font: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TrueType font for the PDF; the one that comes with it has Latin letters.")
    ] = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = GATHER_TIMEOUT_S,
) -> None:
    """Write all that is known of the person for the person, and record that the request is begun.

    Access: report.json with its schema, and the same to read as report.html and report.pdf. Portability: data.jsonl with its schema. `c360 rights fulfil --proof` records
    that it was handed over.

    Example:
      c360 rights report 019f... --out ann --by desk --reason "GDPR Art. 15"
    """
    if out.exists():
        raise Misused("OUTPUT_NOT_WRITTEN", f"{out} exists")
    found = messages.plain(rights_calls.get(rights_request, timeout_s).request)
    if found["right"] not in MADE_FOR:
        raise Misused("RIGHT_DOES_NOT_FIT", f"the request asks for {found['right']}: a report is made for {' or '.join(MADE_FOR)}")
    if found["state"] in ("received", "verified"):
        found = messages.plain(rights_calls.take(rights_request, by, reason, f"{rights_request}:begun", timeout_s, begun={}))
    if not found["customer_id"]:
        raise Refused("IDENTIFIER_UNKNOWN", "nobody has this identifier: refuse the request, with no-data as the ground")
    gathered = gather(found, purpose, format_instant(datetime.now(UTC)), timeout_s)
    files = _access(gathered, pdf, font) if found["right"] == "access" else _portability(gathered)
    _write(out, files)
    _show(out, files, as_json)


def _access(gathered: forms.Report, pdf: bool, font: Path | None) -> dict[str, bytes]:
    sections = sections_of(gathered)
    files = {
        "report.json": forms.document(gathered),
        "report.schema.json": forms.schema_of(forms.Report),
        "report.html": to_html(TITLE, sections),
    }
    return files | ({"report.pdf": to_pdf(TITLE, sections, font)} if pdf else {})


def _portability(gathered: forms.Report) -> dict[str, bytes]:
    return {"data.jsonl": forms.lines(forms.portable(gathered)), "data.schema.json": forms.schema_of(forms.Portable)}


def _write(out: Path, files: dict[str, bytes]) -> None:
    """A folder of its own, for its owner alone, that appears when all is in it. Raises Misused (OUTPUT_NOT_WRITTEN)."""
    try:
        part = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}."))
    except OSError as error:
        raise Misused("OUTPUT_NOT_WRITTEN", f"{out}: {error.strerror}") from error
    try:
        for name, content in files.items():
            with (part / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        part.rename(out)
    except OSError as error:
        raise Misused("OUTPUT_NOT_WRITTEN", f"{out}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _show(out: Path, files: dict[str, bytes], as_json: bool) -> None:
    told: list[dict[str, Any]] = [
        {"file": str(out / name), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    ]
    if as_json:
        render.document(told)
    else:
        render.table("Written", ("file", "sha256"), [tuple(one.values()) for one in told])
