"""The file that says how far an import has come."""

import json
from pathlib import Path

import msgspec
import pytest

from services.cli.errors import Misused
from services.cli.importing import progress
from services.cli.importing.ledger import Counts

SOME = progress.Progress(content="c", size_bytes=9, setup="s", row=2, line=3, offset=4, counts=Counts(), rejects_bytes=0)


@pytest.mark.parametrize("name", ["row", "line", "offset", "size_bytes", "rejects_bytes"])
def test_a_place_before_the_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(msgspec.to_builtins(SOME) | {name: -1}))
    with pytest.raises(Misused, match="PROGRESS_BROKEN"):
        progress.read(path)


def test_what_a_killed_import_left_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / ".x.json.part").write_text("half of a longer one" * 100)
    progress.write(tmp_path / "x.json", SOME)
    assert progress.read(tmp_path / "x.json") == SOME
    assert [found.name for found in tmp_path.iterdir()] == ["x.json"]


def test_what_earlier_imports_left_is_kept_under_one_number(tmp_path: Path) -> None:
    paths = [tmp_path / "x.csv.progress.json", tmp_path / "x.csv.rejects.jsonl"]
    paths[0].write_text("first")
    assert [kept.name for kept in progress.keep(paths)] == ["x.csv.progress.1.json"]
    for path in paths:
        path.write_text("second")
    assert [kept.name for kept in progress.keep(paths)] == ["x.csv.progress.2.json", "x.csv.rejects.2.jsonl"]
    assert (tmp_path / "x.csv.progress.1.json").read_text() == "first"
