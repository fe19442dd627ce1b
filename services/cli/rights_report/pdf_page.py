"""Sections as PDF, with reportlab (`pip install 'customer360[report]'`). What people typed is text, whatever it looks like."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape  # nosec B406

from services.cli.errors import Misused
from services.cli.rights_report.sections import Section

MOST_CHARACTERS: Final = 500  # of a cell: a row has to fit a page; report.json has all
MARGIN: Final = 40  # points
FONT: Final = "Report"
OWN_FONT: Final = "Vera.ttf"  # comes with reportlab; Latin scripts


def to_pdf(title: str, sections: Sequence[Section], font: Path | None) -> bytes:
    """What the font has no sign for is told by its number, [U+4E2D]. Raises Misused (PDF_MISSING, FONT_UNREADABLE)."""
    try:
        from reportlab.lib.pagesizes import A4, landscape
        from reportlab.platypus import SimpleDocTemplate
    except ImportError:
        raise Misused("PDF_MISSING", "PDF needs reportlab: pip install 'customer360[report]', or give --no-pdf") from None
    has = _register(font)
    file = io.BytesIO()
    page = SimpleDocTemplate(
        file, pagesize=landscape(A4), title=title, leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN, bottomMargin=MARGIN
    )
    page.build(list(_flow(title, sections, page.width, has)), onLaterPages=_number)
    return file.getvalue()


def _register(font: Path | None) -> Callable[[str], bool]:
    """Whether the font has a sign for a character."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFError, TTFont

    try:
        loaded = TTFont(FONT, str(font or OWN_FONT))
    except (TTFError, OSError):
        raise Misused("FONT_UNREADABLE", f"{font}: no TrueType font") from None
    pdfmetrics.registerFont(loaded)
    known = loaded.face.charToGlyph
    return lambda char: ord(char) in known


def _flow(title: str, sections: Sequence[Section], width: float, has: Callable[[str], bool]) -> Iterator[Any]:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph, Spacer

    text = ParagraphStyle("text", fontName=FONT, fontSize=8, leading=10, splitLongWords=True)
    heading = ParagraphStyle("heading", parent=text, fontSize=12, leading=16, spaceBefore=12, spaceAfter=4, keepWithNext=True)
    top = ParagraphStyle("top", parent=heading, fontSize=18, leading=24)

    def paragraph(value: str, style: ParagraphStyle = text) -> Paragraph:
        return Paragraph(escape(spelled(value, has)), style)

    yield paragraph(title, top)
    for section in sections:
        yield paragraph(section.title, heading)
        if section.text:
            yield paragraph(section.text)
        rows = [*([section.columns] if section.columns else []), *section.rows, *section.facts]
        if rows:
            yield _grid([[paragraph(value) for value in row] for row in rows], width, bool(section.columns))
        yield Spacer(0, 4)


def _grid(rows: list[list[Any]], width: float, has_head: bool) -> Any:
    from reportlab.lib.colors import grey
    from reportlab.platypus import LongTable, TableStyle

    drawn = LongTable(rows, colWidths=[width / len(rows[0])] * len(rows[0]), repeatRows=int(has_head))
    drawn.setStyle(TableStyle([("LINEBELOW", (0, 0), (-1, -1), 0.25, grey), ("VALIGN", (0, 0), (-1, -1), "TOP")]))
    return drawn


def spelled(value: str, has: Callable[[str], bool]) -> str:
    cut = value if len(value) <= MOST_CHARACTERS else value[: MOST_CHARACTERS - 1] + "…"
    return "".join(char if has(char) else f"[U+{ord(char):04X}]" for char in cut)


def _number(canvas: Any, page: Any) -> None:
    canvas.setFont(FONT, 7)
    canvas.drawRightString(page.pagesize[0] - MARGIN, MARGIN / 2, str(canvas.getPageNumber()))
