"""The mapping file: which column of a row is what of an event. Pure; docs/import.md describes the form.

MappingError names the field that is to blame, such as `traits.age.as`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from services.cli.importing import cells
from services.cli.importing.cells import CONVERSIONS, UNIX_UNITS, Cell, Convert

TEXTS = ("type", "userId", "anonymousId", "event", "name", "category", "groupId", "previousId", "messageId")
OBJECTS = ("traits", "properties", "context")
FIELDS = (*TEXTS, *OBJECTS, "externalIds", "timestamp", "skip", "label", "csv")
TYPES = ("identify", "track", "page", "screen", "group", "alias")
NEEDED_BY = {"track": "event", "group": "groupId", "alias": "previousId"}
ENCODINGS = ("utf-8", "latin-1", "cp1252", "iso-8859-15", "cp1250", "cp1251")  # in which a byte below 128 is always ASCII
LABEL_CHARACTERS = 40
LOOKS_LIKE_EVENT_FIELD = 0.6  # of difflib's similarity, as its own default


class MappingError(Exception):
    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


@dataclass(frozen=True)
class CsvForm:
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"


@dataclass(frozen=True)
class EventMapping:
    """`texts` by field; `fields` of an object by name, where the mapping names each; `wholes` where one column is the object."""

    texts: Mapping[str, Cell]
    timestamp: Cell | None
    fields: Mapping[str, Mapping[str, Cell]]
    wholes: Mapping[str, Cell]
    external_ids: Mapping[str, Cell]
    label: str
    csv: CsvForm
    skip: Cell | None = None  # rows of which this is true are left out

    def cells(self) -> list[Cell]:
        found = [*self.texts.values(), *self.wholes.values(), *self.external_ids.values()]
        found += [cell for named in self.fields.values() for cell in named.values()]
        return found + [cell for cell in (self.timestamp, self.skip) if cell]

    def columns(self) -> list[str]:
        return list(dict.fromkeys(cell.column for cell in self.cells() if cell.column))


def parse_mapping(data: Any) -> EventMapping:
    """From decoded JSON. Raises MappingError."""
    given = _object("", data)
    _only(given, FIELDS, "")
    texts = {field: _cell(field, given[field]) for field in TEXTS if field in given}
    texts = {field: _as_text(cell) for field, cell in texts.items()}
    _check_needed(texts)
    fields = {field: _fields(field, given[field]) for field in OBJECTS if isinstance(given.get(field), dict)}
    wholes = {field: _whole(field, given[field]) for field in OBJECTS if field in given and field not in fields}
    external_ids = {name: _as_text(cell) for name, cell in _fields("externalIds", given.get("externalIds", {})).items()}
    return EventMapping(
        texts=texts,
        timestamp=_timestamp(given["timestamp"]) if "timestamp" in given else None,
        fields=fields,
        wholes=wholes,
        external_ids=external_ids,
        label=_label(given.get("label", "")),
        csv=_csv(given.get("csv", {})),
        skip=_skip(given["skip"]) if "skip" in given else None,
    )


def without_redacted(mapping: EventMapping, columns: Collection[str] | None) -> EventMapping:
    """What an erasure left of an export's rows never goes in under the customer's old id, whether the mapping says so or not.

    `columns` is None when only the rows could tell them."""
    takes_customers = any(cell.column == "customer_id" for cell in mapping.texts.values())
    if mapping.skip or not takes_customers or (columns is not None and "redacted" not in columns):
        return mapping
    return replace(mapping, skip=_skip("redacted"))


def check_columns(mapping: EventMapping, columns: Collection[str]) -> None:
    """Raises MappingError when the file lacks a column, or has it twice."""
    present = list(columns)
    for cell in mapping.cells():
        if not cell.column:
            continue
        if cell.column not in present:
            raise MappingError(cell.field, f'the file has no column "{cell.column}"{_meant(cell.column, present)}')
        if present.count(cell.column) > 1:
            raise MappingError(cell.field, f'the file has the column "{cell.column}" twice')


def _check_needed(texts: Mapping[str, Cell]) -> None:
    if "type" not in texts:
        raise MappingError("type", f'it is required: {{"value": "identify"}}, or a column that holds one of {", ".join(TYPES)}')
    kind = texts["type"]
    if not kind.column and kind.constant not in TYPES:
        raise MappingError("type.value", f"it is one of {', '.join(TYPES)}")
    if "userId" not in texts and "anonymousId" not in texts:
        raise MappingError("userId", "userId or anonymousId is required, or nobody would know whose events these are")
    needed = NEEDED_BY.get(str(kind.constant))
    if needed and needed not in texts:
        raise MappingError(needed, f"it is required for {kind.constant}")


def _cell(field: str, given: Any, allowed: Collection[str] = ("column", "as", "empty", "value")) -> Cell:
    """A string is a column's name."""
    if isinstance(given, str):
        given = {"column": given}
    if not isinstance(given, dict):
        raise MappingError(field, 'it is a column\'s name, {"column": ...} or {"value": ...}')
    _only(given, allowed, f"{field}.")
    if ("column" in given) == ("value" in given):
        raise MappingError(field, 'it has either "column" or "value"')
    if "value" in given:
        if len(given) > 1:
            raise MappingError(field, 'beside "value" there is nothing to say')
        return Cell(field, constant=given["value"])
    column = given["column"]
    if not isinstance(column, str) or not column:
        raise MappingError(f"{field}.column", "it is a column's name")
    return Cell(field, column, convert=_conversion(field, given), remove=_removes(field, given))


def _skip(given: Any) -> Cell:
    if not isinstance(given, str) or not given:
        raise MappingError("skip", "it is the name of a column that says true or false")
    return Cell("skip", given, convert=CONVERSIONS["boolean"])


def _conversion(field: str, given: Mapping[str, Any]) -> Convert:
    name = given.get("as")
    if name is None:
        return cells.plain
    if name not in CONVERSIONS:
        raise MappingError(f"{field}.as", f"it is one of {', '.join(CONVERSIONS)}")
    return CONVERSIONS[name]


def _removes(field: str, given: Mapping[str, Any]) -> bool:
    if given.get("empty", "skip") not in ("skip", "remove"):
        raise MappingError(f"{field}.empty", "it is skip (the default) or remove")
    return given.get("empty") == "remove"


def _as_text(cell: Cell) -> Cell:
    """Ids and names are text whatever the column holds."""
    if cell.column:
        return Cell(cell.field, cell.column, convert=cells.text)
    if not isinstance(cell.constant, str) or not cell.constant:
        raise MappingError(f"{cell.field}.value", "it is text")
    return cell


def _fields(field: str, given: Any) -> dict[str, Cell]:
    named = _object(field, given)
    return {name: _cell(f"{field}.{name}", item) for name, item in named.items()}


def _whole(field: str, given: Any) -> Cell:
    if not isinstance(given, str) or not given:
        raise MappingError(field, "it is an object of fields, or the name of a column that holds a JSON object")
    return Cell(field, given, convert=cells.json_object)


def _timestamp(given: Any) -> Cell:
    cell = _cell("timestamp", given, ("column", "value", "format", "zone"))
    options = given if isinstance(given, dict) else {}
    convert = cells.instant(_time_format(options.get("format", "iso")), _zone(options.get("zone")))
    if cell.column:
        return Cell("timestamp", cell.column, convert=convert)
    try:
        return Cell("timestamp", constant=convert(cell.constant))
    except (ValueError, TypeError):
        raise MappingError("timestamp.value", "it is ISO 8601 text") from None


def _time_format(given: Any) -> str:
    if not isinstance(given, str) or (given not in ("iso", *UNIX_UNITS) and "%" not in given):
        raise MappingError("timestamp.format", f'it is iso, {", ".join(UNIX_UNITS)}, or a pattern such as "%d.%m.%Y %H:%M"')
    try:
        if "%" in given:
            datetime.strptime(datetime(2000, 1, 1, tzinfo=UTC).strftime(given), given)  # noqa: DTZ007 (only whether it can)
    except ValueError:
        raise MappingError("timestamp.format", "this pattern can't read what it writes") from None
    return given


def _zone(given: Any) -> tzinfo:
    if given is None:
        return UTC
    try:
        return ZoneInfo(given)
    except (ValueError, TypeError, OSError, KeyError):
        raise MappingError("timestamp.zone", "it is a zone's name, such as Europe/Berlin") from None


def _label(given: Any) -> str:
    if not isinstance(given, str) or len(given) > LABEL_CHARACTERS:
        raise MappingError("label", f"it is text of at most {LABEL_CHARACTERS} characters")
    return given


def _csv(given: Any) -> CsvForm:
    options = _object("csv", given)
    _only(options, ("delimiter", "quote", "encoding"), "csv.")
    for name in ("delimiter", "quote"):
        if name in options and (not isinstance(options[name], str) or len(options[name]) != 1 or options[name] in "\r\n"):
            raise MappingError(f"csv.{name}", "it is one character")
    form = CsvForm(**options)
    if form.delimiter == form.quote:
        raise MappingError("csv.quote", "it is not the delimiter")
    if form.encoding not in ENCODINGS:
        raise MappingError("csv.encoding", f"it is one of {', '.join(ENCODINGS)}")
    return form


def _object(field: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise MappingError(field, "it is an object" if field else "a mapping is a JSON object")
    return given


def _only(given: Mapping[str, Any], known: Collection[str], prefix: str) -> None:
    for name in given:
        if name not in known:
            hint = _meant(name, known) or f"; there are {', '.join(known)}"
            raise MappingError(f"{prefix}{name}", f"there is no such field{hint}")


def _meant(name: str, known: Collection[str]) -> str:
    """Only what is close: the first line of a file without a header is somebody's data."""
    close = difflib.get_close_matches(name, known, 1, LOOKS_LIKE_EVENT_FIELD)
    return f'; did you mean "{close[0]}"?' if close else ""
