"""What a spreadsheet makes of an exported file."""

import csv
import io
from collections.abc import Sequence

import pytest

from services.cli.exporting.columns import COLUMNS
from services.cli.exporting.files import CsvWriter


def names(texts: Sequence[str | None], raw: bool) -> list[str]:
    file = io.BytesIO()
    CsvWriter(file, raw).write([dict.fromkeys(COLUMNS) | {"name": text, "redacted": False} for text in texts])
    return [row["name"] for row in csv.DictReader(io.StringIO(file.getvalue().decode(), newline=""))]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_a_formula_unless_it_is_asked_for_raw(sign: str) -> None:
    given = [f'{sign}HYPERLINK("http://x.example";1)', f"a{sign}b"]
    assert names([*given, None], raw=False) == [f"'{given[0]}", given[1], ""]
    assert names(given, raw=True) == given
