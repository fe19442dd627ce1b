"""Makes events of rows, as their mapping says. Pure; the work for one row is all that is done here for each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from services.cli.importing.cells import Cell, RowRefused, RowSkipped, Values
from services.cli.importing.mapping import EventMapping

MESSAGE_ID_DIGITS = 40  # hexadecimal, after "import-"
Indexed = Sequence[tuple[str, int, Cell]]  # name in the event, which of the values (-1: a constant), cell


class Mapped(msgspec.Struct, frozen=True):
    """`person` says whose row it is: rows of one person are sent in order."""

    person: str
    event: bytes  # JSON

    def __repr__(self) -> str:
        return "<Mapped sealed>"


class Mapper:
    """`content` is the digest of the file. Together with a row's number, the mapping's label and the type it makes the message id:
    the same file gives the same ids, whatever it is called, however often it is sent."""

    def __init__(self, mapping: EventMapping, content: bytes) -> None:
        at = {column: index for index, column in enumerate(mapping.columns())}
        self._texts = _indexed(mapping.texts, at)
        self._fields = [(name, _indexed(cells, at)) for name, cells in mapping.fields.items()]
        self._wholes = _indexed(mapping.wholes, at)
        self._external_ids = _indexed(mapping.external_ids, at)
        self._skip = _indexed({"skip": mapping.skip} if mapping.skip else {}, at)
        self._timestamp = _indexed({"timestamp": mapping.timestamp} if mapping.timestamp else {}, at)
        self._seed = hashlib.sha256(b"customer360 import\0" + content + mapping.label.encode() + b"\0")
        self._encode = msgspec.json.Encoder().encode

    def event(self, row: int, values: Values) -> Mapped:
        """Raises RowRefused (VALUE_INVALID, IDS_MISSING), RowSkipped."""
        if any(cell.read(values[index]) for _, index, cell in self._skip):
            raise RowSkipped
        event: dict[str, Any] = {}
        for name, index, cell in (*self._texts, *self._timestamp, *self._wholes):
            value = cell.constant if index < 0 else cell.read(values[index])
            if value is not None:
                event[name] = value
        for name, cells in self._fields:
            event[name] = _object(cells, values)
        if self._external_ids:
            event["externalIds"] = _external_ids(self._external_ids, values)
        person = event.get("userId") or event.get("anonymousId")
        if not person:
            raise RowRefused("IDS_MISSING")
        if "messageId" not in event:
            event["messageId"] = self._message_id(row, event.get("type", ""))
        try:
            return Mapped(person, self._encode(event))
        except (ValueError, TypeError, OverflowError, RecursionError):  # half of a surrogate pair is no text
            raise RowRefused("VALUE_INVALID") from None

    def _message_id(self, row: int, kind: str) -> str:
        digest = self._seed.copy()
        digest.update(b"%d %b" % (row, kind.encode(errors="replace")))
        return f"import-{digest.hexdigest()[:MESSAGE_ID_DIGITS]}"


def _indexed(cells: Any, at: dict[str, int]) -> Indexed:
    return [(name, at[cell.column] if cell.column else -1, cell) for name, cell in cells.items()]


def _object(cells: Indexed, values: Values) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, index, cell in cells:
        value = cell.constant if index < 0 else cell.read(values[index])
        if value is not None or cell.remove or (index < 0):
            made[name] = value
    return made


def _external_ids(cells: Indexed, values: Values) -> list[dict[str, str]]:
    named = ((name, cell.constant if index < 0 else cell.read(values[index])) for name, index, cell in cells)
    return [{"type": name, "id": value} for name, value in named if value is not None]
