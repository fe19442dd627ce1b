"""An export that is killed again and again ends, however few rows it takes between two kills, with every row once."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from c360.profile.v1 import export_pb2 as pb
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from services.cli.lake.directory import Lake, opened
from services.cli.lake.export import Exporter, Stop

COMMIT_EVERY_S = 30.0


class Killed(BaseException):
    """As if the process had been."""


class Run:
    """One process: its clock goes by what each answer takes, and it lives so long."""

    def __init__(self, instants: Sequence[tuple[int, float]], lives_s: float) -> None:
        """`instants`: how many rows each has, and how long its answer takes."""
        self.instants, self.lives_s = instants, lives_s
        self.now = 0.0
        self.told: list[str] = []

    def tell(self, share: float, text: str) -> None:
        self.told.append(text)

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def answers(self, lake: Lake) -> Iterator[pb.ExportChangesResponse]:
        """From where the lake is on."""
        for number in range(lake.manifest.next_positions.get(0, 0), len(self.instants)):
            rows, takes_s = self.instants[number]
            self.now += takes_s
            if self.now > self.lives_s:
                raise Killed
            response = pb.ExportChangesResponse(read_count=number + 1, total_count=len(self.instants))
            for row in range(rows):
                response.changes.add(
                    canonical=pb.ExportedCanonical(customer_id=f"{number}-{row}")
                ).canonical.occasion.record_time.FromSeconds(9)
            response.next_positions.add(log="profile", number=number + 1)
            yield response

    def export(self, folder: Path) -> bool:
        """Whether it ended."""
        with opened(folder, "log", "audit") as lake:
            exporter = Exporter(lake, Stop(), self, lambda: self.now, COMMIT_EVERY_S)
            idle: dict[str, Any] = {
                "_check": lambda purpose: None,
                "_refresh": lambda: None,
                "_answers": lambda _: self.answers(lake),
            }
            try:
                with patch.multiple(exporter, **idle):
                    exporter.once(pb.ExportChangesRequest(purpose="audit"))
            except Killed:
                return False
        return True


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0.1, 9.0)), max_size=25),
    st.lists(st.floats(40.0, 80.0), min_size=1, max_size=5),
)
def test_killed_again_and_again_it_ends_with_every_row_once(instants: list[tuple[int, float]], lives: list[float]) -> None:
    in_all_s = sum(takes_s for _, takes_s in instants)
    with tempfile.TemporaryDirectory() as home:
        folder, runs = Path(home) / "lake", 0
        while not Run(instants, lives[runs % len(lives)]).export(folder):
            runs += 1
            assert runs * COMMIT_EVERY_S <= in_all_s, "each keeps half a minute's work at the least"
        files = folder.glob("*/day=*/*.parquet")
        found = sorted(
            one for path in files for one in parquet.read_table(path, partitioning=None).column("segment_id").to_pylist()
        )
        assert found == sorted(f"{number}-{row}" for number, (rows, _) in enumerate(instants) for row in range(rows))


def test_it_tells_how_much_is_kept_whatever_happens(tmp_path: Path) -> None:
    run = Run([(2, 20.0)] * 4, 65.0)
    assert not run.export(tmp_path / "lake")
    assert run.told == ["0 events, 0/s", "0 events, 0/s, 4 rows kept", "0 events, 0/s, 4 rows kept"]
