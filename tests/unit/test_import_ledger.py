"""Counts, place and rejects belong together, whatever order verdicts come in and wherever it ends."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.errors import Misused
from services.cli.importing import checkpoint
from services.cli.importing.checkpoint import Checkpoint
from services.cli.importing.ledger import ACCEPTED, DUPLICATE, REJECTED, Counts, Entry, Ledger, Rejects
from services.cli.importing.rows import Place, Row

VERDICTS = [ACCEPTED, DUPLICATE, REJECTED]


def row(number: int) -> Row:
    return Row(Place(number, number + 1, 10 * number), Place(number + 1, number + 2, 10 * number + 10), ["x"])


def settle(entry: Entry, verdict: str) -> None:
    if verdict == REJECTED:
        entry.refuse("WHY")
    else:
        entry.take(verdict)


@given(st.lists(st.sampled_from(VERDICTS), max_size=30), st.randoms(use_true_random=False), st.integers(0, 30))
def test_rows_count_in_order_and_an_interruption_loses_or_doubles_none(verdicts: list[str], shuffle: object, cut: int) -> None:
    order = list(range(len(verdicts)))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rejects.jsonl"
        first = Ledger(None, Counts(), rejects := Rejects(path))
        entries = [first.open(row(number + 1)) for number in range(len(verdicts))]
        for number in order[:cut]:
            settle(entries[number], verdicts[number])
            first.advance()
        saved, saved_bytes, place = first.counts, rejects.flush(), first.place
        assert saved.rows == (place.row - 1 if place else 0)
        for number in order[cut : cut + 3]:  # what happens after the checkpoint is as if it hadn't
            settle(entries[number], verdicts[number])
            first.advance()
        rejects.flush()
        rejects.close()
        second = Ledger(place, saved, rejects := Rejects(path, saved_bytes))
        for number in range(saved.rows, len(verdicts)):
            settle(second.open(row(number + 1)), verdicts[number])
        second.advance()
        rejects.close()
        assert second.counts.statuses == {verdict: verdicts.count(verdict) for verdict in set(verdicts)}
        listed = [json.loads(line)["row"] for line in path.read_text().splitlines()] if path.exists() else []
        assert listed == [number + 1 for number, verdict in enumerate(verdicts) if verdict == REJECTED]


def a_checkpoint(rows: int) -> Checkpoint:
    return Checkpoint(content="00", size_bytes=1, setup="11", row=rows, line=rows, offset=0, counts=Counts(), rejects_bytes=0)


def test_a_checkpoint_is_read_as_written_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.progress.json"
    assert checkpoint.read(path) is None
    for rows in (1, 2):
        checkpoint.write(path, a_checkpoint(rows))
        assert checkpoint.read(path) == a_checkpoint(rows)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_broken_checkpoint_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"row": 1}')
    with pytest.raises(Misused, match="PROGRESS_BROKEN"):
        checkpoint.read(tmp_path / "x")


def test_the_write_key_is_not_in_the_setup() -> None:
    assert "secret" not in checkpoint.setup_of(b"{}", "wk_secret")
    assert checkpoint.setup_of(b"{}", "a") != checkpoint.setup_of(b"{}", "b") != checkpoint.setup_of(b"{ }", "b")
