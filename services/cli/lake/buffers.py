"""Rows that wait to be committed, column by column: a row of forty cells would be a few kilobytes as an object of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.cli.lake.cells import Types
from services.cli.lake.manifest import Passing
from services.cli.lake.shapes import DAY_US, Row, event_rows
from services.cli.lake.updates import canonical_row, lapse_row, link_row, traits_row

if TYPE_CHECKING:
    from c360.profile.v1 import export_pb2

ROWS_AT_MOST = 100_000  # of all tables together; more is a commit
BYTES_AT_MOST = 64 * 1024 * 1024  # of changes, as they were received


class Columns:
    """Of one table and day. Columns are as long as their last value; what is missing is null."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}
        self.rows = 0

    def add(self, cells: dict[str, Any]) -> None:
        for name, value in cells.items():
            column = self.values.get(name)
            if column is None:
                column = self.values[name] = []
            if len(column) < self.rows:
                column.extend([None] * (self.rows - len(column)))
            column.append(value)
        self.rows += 1


class Waiting:
    """What came since the last commit. It can be committed wherever the service told `positions`, and a place amid new rules with them."""

    def __init__(self, types: dict[str, Types]) -> None:
        self.types = {table: dict(known) for table, known in types.items()}
        self.tables: dict[tuple[str, str], Columns] = {}
        self.erased: set[str] = set()
        self.positions: dict[int, int] = {}
        self.rules_place = b""
        self.passed: Passing | int | None = None  # of what changed with no event: how far it is in, wholly or up to a customer
        self.recorded_us = 0
        self.events = self.rows = self.size_bytes = 0

    def take(self, change: export_pb2.ExportedChange) -> None:
        self.size_bytes += change.ByteSize()
        match change.WhichOneof("change"):
            case "event":
                self.events += 1
                for row in event_rows(change.event, self.types):
                    self._add(row)
            case "link":
                self._add(link_row(change.link))
            case "canonical":
                self._add(canonical_row(change.canonical))
            case "traits":
                self._add(traits_row(change.traits, self.types))
            case "erased_customer_id":
                self.erased.add(change.erased_customer_id)

    def take_lapse(self, traits: export_pb2.ExportedTraits, through_us: int) -> None:
        """It is of no place in the log: an erasure before its instant may not have come yet."""
        self.size_bytes += traits.ByteSize()
        self._put(lapse_row(traits, self.types, through_us))

    def _add(self, row: Row) -> None:
        self._put(row)
        self.recorded_us = max(self.recorded_us, row.recorded_us)

    def _put(self, row: Row) -> None:
        place = (row.table, day_of(row.recorded_us))
        columns = self.tables.get(place)
        if columns is None:
            columns = self.tables[place] = Columns()
        columns.add(row.cells)
        self.rows += 1

    @property
    def is_full(self) -> bool:
        return self.rows >= ROWS_AT_MOST or self.size_bytes >= BYTES_AT_MOST


def day_of(recorded_us: int) -> str:
    """The partition: the day, in UTC, on which the log took it. No clock but ours decides, so a day that has passed is complete."""
    return datetime.fromtimestamp(recorded_us // DAY_US * DAY_US // 1_000_000, UTC).date().isoformat()
