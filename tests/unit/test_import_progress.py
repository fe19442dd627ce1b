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
