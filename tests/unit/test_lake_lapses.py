"""How far a lake has what changed with no event: kept with the rows, and gone on from where it was interrupted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from c360.profile.v1 import export_pb2 as pb

from services.cli.lake import lapses
from services.cli.lake.directory import Lake, opened
from services.cli.lake.export import Exporter, Stop
from services.cli.lake.lapses import Lapsed
from services.cli.lake.manifest import Manifest, Passing


def traits(customer: str, at_s: int) -> pb.ExportedTraits:
    found = pb.ExportedTraits(customer_id=customer, member_customer_ids=[customer], traits='{"orders":0}')
    found.occasion.record_time.FromSeconds(at_s)
    found.occasion.cause_type = "time"
    return found


def refreshed(folder: Path, customers: list[str], stops: bool = False) -> Manifest:
    """The manifest after a pass that tells of these, each in a commit of its own."""
    stop = Stop()

    def told(people: Any, manifest: Manifest, since_us: int, stopped: Any) -> Iterator[Lapsed]:
        for customer in customers:
            yield Lapsed([traits(customer, 7)], customer, 9_000_000, goes_on=False)
        if stops:
            stop.ask()

    with opened(folder, "log", "audit") as lake, patch.object(lapses, "lapsed_of", told), _always_full():
        Exporter(lake, stop, cast(Any, None))._refresh()
        return lake.manifest


def _always_full() -> Any:
    return patch("services.cli.lake.buffers.ROWS_AT_MOST", 1)


def test_interrupted_amid_it_the_manifest_says_whose_rows_are_in(tmp_path: Path) -> None:
    found = refreshed(tmp_path, ["a", "b"], stops=True)
    assert (found.passed_us, found.passing, found.rows) == (0, Passing(9_000_000, "b"), 2)
    whole = refreshed(tmp_path, ["c"])
    assert (whole.passed_us, whole.passing, whole.rows) == (9_000_000, None, 3)


def test_where_nothing_changed_nothing_is_written(tmp_path: Path) -> None:
    assert refreshed(tmp_path, []).commit == 0


def test_positions_of_the_log_stay_as_they_are(tmp_path: Path) -> None:
    with opened(tmp_path, "log", "audit") as lake:
        _moved(lake)
    found = refreshed(tmp_path, ["a"])
    assert (found.next_positions, found.recorded_through) == ({0: 5}, ""), (
        "an erasure may have been recorded before the row's instant"
    )


def _moved(lake: Lake) -> None:
    from services.cli.lake.buffers import Waiting

    waiting = Waiting({})
    waiting.positions = {0: 5}
    lake.commit(waiting)
