"""How far a lake has what other rules changed: kept with the rows, wherever among the customers it was interrupted."""

from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from c360.common.v1.common_pb2 import Position
from c360.profile.v1 import export_pb2 as pb

from services.cli.lake.directory import opened
from services.cli.lake.export import Exporter, Stop
from services.cli.lake.manifest import Manifest

HERE, BEHIND = 7, 8


class Silent:
    def tell(self, share: float, text: str) -> None: ...


def page(customer: str, place: bytes, number: int) -> pb.ExportChangesResponse:
    response = pb.ExportChangesResponse(next_positions=[Position(log="profile", partition=0, number=number)])
    if customer:
        traits = pb.ExportedTraits(customer_id=customer, member_customer_ids=[customer], traits="{}")
        traits.occasion.record_time.FromSeconds(9)
        response.changes.add(traits=traits)
    if place:
        response.new_rules.place = place
    return response


def exported(folder: Path, *pages: pb.ExportChangesResponse) -> tuple[Manifest, pb.ExportChangesRequest]:
    """And what it asked for."""
    request = pb.ExportChangesRequest(purpose="audit")
    with opened(folder, "log", "audit") as lake:
        exporter = Exporter(lake, Stop(), cast(Any, Silent()))
        request.rules_place = lake.manifest.rules_place
        exporter._begin()
        for one in pages:
            exporter._take(one)
        exporter._commit()
        return lake.manifest, request


def test_amid_new_rules_the_manifest_says_up_to_whom_the_rows_are_in(tmp_path: Path) -> None:
    with patch("services.cli.lake.buffers.ROWS_AT_MOST", 1):
        found, _ = exported(tmp_path, page("a", b"1", HERE), page("b", b"2", HERE))
        assert (found.next_positions, found.rules_place, found.rows) == ({0: HERE}, b"2", 2)
        found, asked = exported(tmp_path, page("c", b"", BEHIND))
    assert asked.rules_place == b"2"
    assert (found.next_positions, found.rules_place, found.rows) == ({0: BEHIND}, b"", 3)


def test_a_page_on_which_nobody_changed_moves_the_place(tmp_path: Path) -> None:
    found, _ = exported(tmp_path, page("", b"1", HERE), page("", b"2", HERE))
    assert (found.next_positions, found.rules_place) == ({0: HERE}, b"2")
