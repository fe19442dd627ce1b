"""Sections as one HTML page that loads nothing and runs nothing. What people typed is text, whatever it looks like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from services.cli.rights_report.sections import Section

STYLE: Final = (
    "body{font:16px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;"
    "border-bottom:1px solid #ccc;overflow-wrap:anywhere}"
)
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def to_html(title: str, sections: Sequence[Section]) -> bytes:
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n'
    )
    body = "".join(part for section in sections for part in _section(section))
    return f"{head}{body}</body></html>\n".encode()


def _section(section: Section) -> Iterator[str]:
    yield f"<section><h2>{escape(section.title)}</h2>\n"
    if section.text:
        yield f"<p>{escape(section.text)}</p>\n"
    if section.facts:
        rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>\n' for name, value in section.facts)
        yield f"<table>{rows}</table>\n"
    if section.rows:
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in section.columns)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row)}</tr>\n" for row in section.rows)
        yield f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>\n"
    yield "</section>\n"
