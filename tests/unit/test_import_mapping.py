"""What a mapping file may say, and what it makes of rows."""

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.cli.importing.cells import RowRefused, RowSkipped
from services.cli.importing.mapper import Mapper
from services.cli.importing.mapping import MappingError, check_columns, parse_mapping, without_redacted

WHO: dict[str, Any] = {"type": {"value": "identify"}, "userId": "id"}
CONTENT = b"\x01" * 32


def event(mapping: dict[str, Any], row: dict[str, Any], number: int = 1, content: bytes = CONTENT) -> dict[str, Any]:
    """The event of a row without its message id, unless the mapping gives one."""
    made = whole_event(mapping, row, number, content)
    return made if "messageId" in mapping else {name: value for name, value in made.items() if name != "messageId"}


def whole_event(mapping: dict[str, Any], row: dict[str, Any], number: int = 1, content: bytes = CONTENT) -> dict[str, Any]:
    parsed = parse_mapping(mapping)
    values = [row.get(column) for column in parsed.columns()]
    made: dict[str, Any] = json.loads(Mapper(parsed, content).event(number, values).event)
    return made


DOCUMENTED = re.findall(r"```json\n(.*?)```", (Path(__file__).parents[2] / "docs" / "import.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", DOCUMENTED)
def test_the_documented_mappings_are_mappings(example: str) -> None:
    assert len(DOCUMENTED) == 3
    assert parse_mapping(json.loads(example)).columns()


@pytest.mark.parametrize(
    ("mapping", "field"),
    [
        ([], ""),
        ({"userId": "id"}, "type"),
        ({"type": {"value": "buy"}, "userId": "id"}, "type.value"),
        ({"type": {"value": "identify"}}, "userId"),
        ({"type": {"value": "track"}, "userId": "id"}, "event"),
        ({"type": {"value": "group"}, "userId": "id"}, "groupId"),
        ({"type": {"value": "alias"}, "userId": "id"}, "previousId"),
        (WHO | {"trait": {}}, "trait"),
        (WHO | {"traits": 7}, "traits"),
        (WHO | {"traits": {"age": {"column": "age", "as": "int"}}}, "traits.age.as"),
        (WHO | {"traits": {"age": {"column": "age", "empty": "null"}}}, "traits.age.empty"),
        (WHO | {"traits": {"age": {"colunm": "age"}}}, "traits.age.colunm"),
        (WHO | {"traits": {"age": {"column": "age", "value": 1}}}, "traits.age"),
        (WHO | {"traits": {"age": {"value": 1, "as": "text"}}}, "traits.age"),
        (WHO | {"traits": {"age": {"column": ""}}}, "traits.age.column"),
        (WHO | {"traits": {"age": 7}}, "traits.age"),
        (WHO | {"userId": {"value": 7}}, "userId.value"),
        (WHO | {"timestamp": {"column": "at", "format": "dd.mm.yyyy"}}, "timestamp.format"),
        (WHO | {"timestamp": {"column": "at", "zone": "Mars"}}, "timestamp.zone"),
        (WHO | {"timestamp": {"value": "yesterday"}}, "timestamp.value"),
        (WHO | {"externalIds": {"crm": {"value": 1}}}, "externalIds.crm.value"),
        (WHO | {"csv": {"delimiter": "||"}}, "csv.delimiter"),
        (WHO | {"csv": {"quote": ","}}, "csv.quote"),
        (WHO | {"csv": {"encoding": "utf-16"}}, "csv.encoding"),
        (WHO | {"csv": {"sep": ";"}}, "csv.sep"),
        (WHO | {"label": "x" * 41}, "label"),
    ],
)
def test_a_bad_mapping_names_the_field(mapping: Any, field: str) -> None:
    with pytest.raises(MappingError) as refused:
        parse_mapping(mapping)
    assert refused.value.field == field


def test_a_misspelt_field_is_recognised() -> None:
    with pytest.raises(MappingError, match='did you mean "traits"'):
        parse_mapping(WHO | {"trait": {}})


def test_a_column_that_the_file_lacks_is_named_with_its_field() -> None:
    mapping = parse_mapping(WHO | {"traits": {"email": "e_mail"}})
    with pytest.raises(MappingError, match=r'traits\.email: the file has no column "e_mail"; did you mean "email"\?'):
        check_columns(mapping, ["id", "email"])
    with pytest.raises(MappingError, match="twice"):
        check_columns(mapping, ["id", "e_mail", "e_mail"])
    check_columns(mapping, ["id", "e_mail", "other"])


def test_a_file_without_a_header_has_none_of_its_data_in_the_error() -> None:
    with pytest.raises(MappingError) as refused:
        check_columns(parse_mapping(WHO), ["u1", "ann@example.com"])
    assert "ann" not in str(refused.value)


def test_columns_constants_and_conversions() -> None:
    traits = {
        "email": "mail",
        "origin": {"value": "crm"},
        "age": {"column": "age", "as": "integer"},
        "score": {"column": "score", "as": "number"},
        "vip": {"column": "vip", "as": "boolean"},
        "tags": {"column": "tags", "as": "json"},
        "zip": "zip",
    }
    row = {"id": "u1", "mail": "a@example.com", "age": " 42 ", "score": "1.5", "vip": "Yes", "tags": '["a"]', "zip": "01234"}
    assert event(WHO | {"traits": traits}, row)["traits"] == {
        "email": "a@example.com",
        "origin": "crm",
        "age": 42,
        "score": 1.5,
        "vip": True,
        "tags": ["a"],
        "zip": "01234",
    }


def test_an_empty_cell_says_nothing_unless_it_is_to_remove() -> None:
    mapping = WHO | {"traits": {"a": "a", "b": {"column": "b", "empty": "remove"}, "c": "c"}}
    assert event(mapping, {"id": "u1", "a": "", "b": "", "c": float("nan")}) == {
        "type": "identify",
        "userId": "u1",
        "traits": {"b": None},
    }


def test_what_stands_in_typed_files_becomes_json() -> None:
    mapping = WHO | {"traits": {"a": "a"}}
    moments: list[tuple[Any, Any]] = [
        (Decimal("12.50"), 12.5),
        (Decimal(3), 3),
        (datetime(2026, 3, 3, 10, tzinfo=UTC), "2026-03-03T10:00:00Z"),
        (datetime(2026, 3, 3, 10), "2026-03-03T10:00:00Z"),  # noqa: DTZ001 (a file's own time without a zone is UTC)
        (date(2026, 3, 3), "2026-03-03"),
        ({"b": [Decimal(1)]}, {"b": [1]}),
    ]
    for held, expected in moments:
        assert event(mapping, {"id": 7, "a": held}) == {"type": "identify", "userId": "7", "traits": {"a": expected}}


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({}, "2026-03-03 10:02", "2026-03-03T10:02:00Z"),
        ({}, "2026-03-03T10:02:00.5+02:00", "2026-03-03T08:02:00.500000Z"),
        ({"zone": "Europe/Berlin"}, "2026-07-03 10:02", "2026-07-03T08:02:00Z"),
        ({"format": "%d.%m.%Y"}, "03.03.2026", "2026-03-03T00:00:00Z"),
        ({"format": "unix_s"}, "1772532120", "2026-03-03T10:02:00Z"),
        ({"format": "unix_ms"}, 1772532120500, "2026-03-03T10:02:00.500000Z"),
        ({"format": "unix_ms"}, datetime(2026, 3, 3, 10, 2, tzinfo=UTC), "2026-03-03T10:02:00Z"),
        ({"format": "unix_s", "zone": "Europe/Berlin"}, date(2026, 3, 3), "2026-03-02T23:00:00Z"),
    ],
)
def test_timestamps_are_read_as_their_format_says(options: dict[str, Any], text: Any, expected: str) -> None:
    mapping = WHO | {"timestamp": {"column": "at"} | options}
    assert event(mapping, {"id": "u1", "at": text})["timestamp"] == expected


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "99999-01-01"])
def test_a_value_that_cant_be_read_is_refused_by_its_field_alone(text: str) -> None:
    with pytest.raises(RowRefused) as refused:
        event(WHO | {"timestamp": "at"}, {"id": "u1", "at": text})
    assert (refused.value.reason, refused.value.field) == ("VALUE_INVALID", "timestamp")
    assert text not in str(refused.value)


@pytest.mark.parametrize("given", [1e17, "1e17", -1e17, "1e300"])
def test_an_instant_that_no_calendar_has_is_refused(given: Any) -> None:
    with pytest.raises(RowRefused, match="VALUE_INVALID"):
        event(WHO | {"timestamp": {"column": "at", "format": "unix_s"}}, {"id": "u1", "at": given})


def test_a_whole_object_may_stand_in_one_column() -> None:
    mapping = {"type": "kind", "userId": "id", "event": "what", "properties": "details", "externalIds": {"crm": "crm"}}
    row = {"kind": "track", "id": "u1", "what": "Seen", "details": '{"a": {"b": null}}', "crm": 17}
    assert event(mapping, row) == {
        "type": "track",
        "userId": "u1",
        "event": "Seen",
        "properties": {"a": {"b": None}},
        "externalIds": [{"type": "crm", "id": "17"}],
    }
    with pytest.raises(RowRefused):
        event(mapping, row | {"details": "[1]"})
    assert event(mapping, row | {"details": "[]"})["properties"] == {}


def test_a_row_of_nobody_is_refused() -> None:
    with pytest.raises(RowRefused, match="IDS_MISSING"):
        event(WHO, {"id": ""})


def test_message_ids_follow_from_content_row_label_and_type_alone() -> None:
    def made(mapping: dict[str, Any] | None = None, number: int = 1, content: bytes = CONTENT) -> str:
        return str(whole_event(mapping or WHO, {"id": "u1", "plan": "gold"}, number, content)["messageId"])

    assert made() == made() == made(WHO | {"traits": {"plan": "plan"}})
    others = [
        made(number=2),
        made(content=b"\x02" * 32),
        made(WHO | {"label": "again"}),
        made(WHO | {"type": {"value": "page"}}),
    ]
    assert len({made(), *others}) == 5
    assert len(made()) <= 100


def test_a_mapped_message_id_is_taken_and_an_empty_one_is_made() -> None:
    mapping = WHO | {"messageId": "order"}
    assert event(mapping, {"id": "u1", "order": 4711})["messageId"] == "4711"
    assert event(mapping, {"id": "u1", "order": ""})["messageId"].startswith("import-")


def test_half_of_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(RowRefused, match="VALUE_INVALID"):
        event(WHO | {"traits": {"a": "a"}}, {"id": "u1", "a": "\ud800"})


EXPORT = {"type": "type", "userId": "user_id", "anonymousId": "customer_id", "messageId": "event_id"}
REDACTED = {"type": "track", "customer_id": "c", "event_id": "e", "redacted": True}


@pytest.mark.parametrize("columns", [None, list(REDACTED)], ids=["rows-tell-columns", "file-tells-columns"])
@pytest.mark.parametrize("said", [{}, {"skip": "redacted"}], ids=["unsaid", "said"])
def test_an_erased_customers_rows_never_go_in_under_the_old_id(columns: list[str] | None, said: dict[str, str]) -> None:
    mapping = without_redacted(parse_mapping(EXPORT | said), columns)
    mapper = Mapper(mapping, CONTENT)
    for redacted in (True, "true", "TRUE"):
        with pytest.raises(RowSkipped):
            mapper.event(1, [(REDACTED | {"redacted": redacted}).get(column) for column in mapping.columns()])
    for kept in (False, "false", None):
        assert mapper.event(1, [(REDACTED | {"redacted": kept}).get(column) for column in mapping.columns()]).person == "c"


def test_a_column_of_that_name_in_another_file_is_its_own_affair() -> None:
    assert without_redacted(parse_mapping(WHO), ["id", "redacted"]).skip is None
    assert without_redacted(parse_mapping(EXPORT), ["customer_id"]).skip is None
