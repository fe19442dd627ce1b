"""Laws of a lake's directory: every row once, whatever it dies of and wherever; nothing of who was taken out."""

import tempfile
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from services.cli.errors import Misused
from services.cli.lake import directory
from services.cli.lake.buffers import Waiting
from services.cli.lake.directory import Lake, opened
from services.cli.lake.shapes import DAY_US, Row

PEOPLE = ("annika", "bertram", "evelyne")


class Died(BaseException):
    """As if the process had been killed there."""


class Faults:
    """Dies at the nth point that is reached."""

    def __init__(self, after: int) -> None:
        self.left = after

    def reach(self, point: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Died(point)


class Step:
    """Rows as (table, day, person), and who is erased with them; dies at the nth point, if there are so many."""

    def __init__(self, rows: list[tuple[str, int, str]], erased: set[str], dies_at: int) -> None:
        self.rows, self.erased, self.dies_at = rows, erased, dies_at

    def __repr__(self) -> str:
        return f"Step({self.rows}, {self.erased}, {self.dies_at})"


rows = st.lists(st.tuples(st.sampled_from(("tracks", "pages")), st.integers(0, 2), st.sampled_from(PEOPLE)), max_size=6)
steps = st.lists(st.builds(Step, rows, st.sets(st.sampled_from(PEOPLE), max_size=1), st.integers(1, 14)), max_size=6)


class Model:
    """What a lake should hold: {row id: person}. Each try has ids of its own, as if time had passed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, str] = {}
        self.tries = 0

    def attempt(self, step: Step) -> None:
        """Dies maybe; then what the manifest says tells whether it happened."""
        self.tries += 1
        waiting = Waiting({})
        new: dict[str, str] = {}
        for number, (table, day, person) in enumerate(step.rows):
            row_id = f"{self.tries}-{number}"
            new[row_id] = person
            cells = {"id": row_id, "segment_id": person, f"name_of_{person}": person}
            waiting.types.setdefault(table, {})[f"name_of_{person}"] = "text"
            waiting._add(Row(table, day * DAY_US, cells))
        waiting.erased, waiting.positions = step.erased, {0: self.tries}
        try:
            with opened(self.folder, "log", "audit") as lake, patch.object(directory, "faults", Faults(step.dies_at)):
                lake.commit(waiting)
                lake.merge_small_files()
        except Died:
            assert all(count == 1 for count in self.found().values()), "a row twice while it is down"
        with opened(self.folder, "log", "audit") as lake:
            if lake.manifest.next_positions == waiting.positions:
                self.rows = {i: person for i, person in (self.rows | new).items() if person not in step.erased}
            self.check(lake)

    def check(self, lake: Lake) -> None:
        files = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*.parquet")}
        assert files == lake.manifest.paths()
        assert self.found() == Counter(self.rows.keys())
        assert lake.manifest.rows == len(self.rows)
        gone = set(PEOPLE) - set(self.rows.values())
        content = b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())
        assert not [person for person in gone if person.encode() in content]

    def found(self) -> Counter[str]:
        """As somebody finds them who reads by a pattern."""
        files = self.folder.glob("*/day=*/*.parquet")
        return Counter(
            row for path in files for row in parquet.read_table(path, columns=["id"], partitioning=None)["id"].to_pylist()
        )


@settings(max_examples=60)
@given(steps, st.integers(2, 4))
def test_every_row_is_there_once_whatever_it_dies_of(given_steps: list[Step], small_files: int) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(directory, "SMALL_FILES", small_files):
        model = Model(Path(folder) / "lake")
        for step in given_steps:
            model.attempt(step)


def test_small_files_of_a_day_become_one(tmp_path: Path) -> None:
    model = Model(tmp_path / "lake")
    for _ in range(directory.SMALL_FILES):
        model.attempt(Step([("tracks", 0, "annika"), ("tracks", 1, "bertram")], set(), 0))
    assert len(list(model.folder.rglob("*.parquet"))) == 2
    assert len(model.rows) == 2 * directory.SMALL_FILES


def test_two_exports_never_write_to_one_directory(tmp_path: Path) -> None:
    with opened(tmp_path, "log", "audit"), pytest.raises(Misused, match="LAKE_BUSY"), opened(tmp_path, "log", "audit"):
        pass


def test_a_file_that_was_altered_is_told_without_a_word_of_what_it_holds(tmp_path: Path) -> None:
    model = Model(tmp_path / "lake")
    model.attempt(Step([("tracks", 0, "annika")], set(), 0))
    (path,) = model.folder.rglob("*.parquet")
    path.write_bytes(b"annika" * 10)
    with pytest.raises(Misused, match="LAKE_BROKEN") as told, opened(model.folder, "log", "audit") as lake:
        lake.take_out({"annika"})
    assert "annika" not in str(told.value)
