"""What a spreadsheet makes of an exported file, and what is left when an export ends early."""

import csv
import gc
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.cli.errors import Misused
from services.cli.exporting.columns import COLUMNS
from services.cli.exporting.files import CsvWriter, writing


def names(texts: Sequence[str | None], raw: bool) -> list[str]:
    file = io.BytesIO()
    CsvWriter(file, raw).write([dict.fromkeys(COLUMNS) | {"name": text, "redacted": False} for text in texts])
    return [row["name"] for row in csv.DictReader(io.StringIO(file.getvalue().decode(), newline=""))]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_a_formula_unless_it_is_asked_for_raw(sign: str) -> None:
    given = [f'{sign}HYPERLINK("http://x.example";1)', f"a{sign}b"]
    assert names([*given, None], raw=False) == [f"'{given[0]}", given[1], ""]
    assert names(given, raw=True) == given


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "csv"])
@pytest.mark.filterwarnings("error")
def test_what_ends_early_leaves_what_was_there(tmp_path: Path, format_: str) -> None:
    path = tmp_path / "out"
    path.write_text("before")

    def export_until_interrupted() -> None:
        with writing(path, format_, force=True) as writer:
            writer.write([dict.fromkeys(COLUMNS) | {"redacted": False}])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_until_interrupted()
    gc.collect()  # a writer that closes itself only now would write into a file that is closed
    assert [found.read_text() for found in tmp_path.iterdir()] == ["before"]
    with pytest.raises(Misused, match="FILE_EXISTS"), writing(path, format_):
        pass


def test_what_a_killed_export_left_is_removed_by_the_next_and_what_is_under_way_is_not(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    (tmp_path / ".out.jsonl.k1ll3d.part").write_text("half")
    with writing(path, "jsonl"), writing(path, "jsonl"):
        assert len(list(tmp_path.iterdir())) == 2
    assert [found.name for found in tmp_path.iterdir()] == ["out.jsonl"]
