"""The mapping file: which column of a row is what of an event. Pure; docs/import.md describes the form.

MappingError names the field that is to blame, such as `traits.age.as`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from services.cli.importing import places
from services.cli.importing.places import CONVERSIONS, UNIX_UNITS, Convert, Place

TEXTS = ("type", "userId", "anonymousId", "event", "name", "category", "groupId", "previousId", "messageId")
OBJECTS = ("traits", "properties", "context")
FIELDS = (*TEXTS, *OBJECTS, "externalIds", "timestamp", "label", "csv")
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

    texts: Mapping[str, Place]
    timestamp: Place | None
    fields: Mapping[str, Mapping[str, Place]]
    wholes: Mapping[str, Place]
    external_ids: Mapping[str, Place]
    label: str
    csv: CsvForm

    def places(self) -> list[Place]:
        found = [*self.texts.values(), *self.wholes.values(), *self.external_ids.values()]
        found += [place for named in self.fields.values() for place in named.values()]
        return found + ([self.timestamp] if self.timestamp else [])

    def columns(self) -> list[str]:
        return list(dict.fromkeys(place.column for place in self.places() if place.column))


def parse_mapping(data: Any) -> EventMapping:
    """From decoded JSON. Raises MappingError."""
    given = _object("", data)
    _only(given, FIELDS, "")
    texts = {field: _place(field, given[field]) for field in TEXTS if field in given}
    texts = {field: _as_text(place) for field, place in texts.items()}
    _check_needed(texts)
    fields = {field: _fields(field, given[field]) for field in OBJECTS if isinstance(given.get(field), dict)}
    wholes = {field: _whole(field, given[field]) for field in OBJECTS if field in given and field not in fields}
    external_ids = {name: _as_text(place) for name, place in _fields("externalIds", given.get("externalIds", {})).items()}
    return EventMapping(
        texts=texts,
        timestamp=_timestamp(given["timestamp"]) if "timestamp" in given else None,
        fields=fields,
        wholes=wholes,
        external_ids=external_ids,
        label=_label(given.get("label", "")),
        csv=_csv(given.get("csv", {})),
    )


def check_columns(mapping: EventMapping, columns: Collection[str]) -> None:
    """Raises MappingError when the file lacks a column, or has it twice."""
    present = list(columns)
    for place in mapping.places():
        if not place.column:
            continue
        if place.column not in present:
            raise MappingError(place.field, f'the file has no column "{place.column}"{_meant(place.column, present)}')
        if present.count(place.column) > 1:
            raise MappingError(place.field, f'the file has the column "{place.column}" twice')


def _check_needed(texts: Mapping[str, Place]) -> None:
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


def _place(field: str, given: Any, allowed: Collection[str] = ("column", "as", "empty", "value")) -> Place:
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
        return Place(field, constant=given["value"])
    column = given["column"]
    if not isinstance(column, str) or not column:
        raise MappingError(f"{field}.column", "it is a column's name")
    return Place(field, column, convert=_conversion(field, given), remove=_removes(field, given))


def _conversion(field: str, given: Mapping[str, Any]) -> Convert:
    name = given.get("as")
    if name is None:
        return places.plain
    if name not in CONVERSIONS:
        raise MappingError(f"{field}.as", f"it is one of {', '.join(CONVERSIONS)}")
    return CONVERSIONS[name]


def _removes(field: str, given: Mapping[str, Any]) -> bool:
    if given.get("empty", "skip") not in ("skip", "remove"):
        raise MappingError(f"{field}.empty", "it is skip (the default) or remove")
    return given.get("empty") == "remove"


def _as_text(place: Place) -> Place:
    """Ids and names are text whatever the column holds."""
    if place.column:
        return Place(place.field, place.column, convert=places.text)
    if not isinstance(place.constant, str) or not place.constant:
        raise MappingError(f"{place.field}.value", "it is text")
    return place


def _fields(field: str, given: Any) -> dict[str, Place]:
    named = _object(field, given)
    return {name: _place(f"{field}.{name}", item) for name, item in named.items()}


def _whole(field: str, given: Any) -> Place:
    if not isinstance(given, str) or not given:
        raise MappingError(field, "it is an object of fields, or the name of a column that holds a JSON object")
    return Place(field, given, convert=places.json_object)


def _timestamp(given: Any) -> Place:
    place = _place("timestamp", given, ("column", "value", "format", "zone"))
    options = given if isinstance(given, dict) else {}
    convert = places.instant(_time_format(options.get("format", "iso")), _zone(options.get("zone")))
    if place.column:
        return Place("timestamp", place.column, convert=convert)
    try:
        return Place("timestamp", constant=convert(place.constant))
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
