"""Free properties as columns: names, types, and what doesn't fit."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.lake.cells import COLUMNS_AT_MOST, Types, fitting, kind_of, take_free
from services.cli.lake.names import NAME_CHARACTERS_AT_MOST, snake

NONE_RESERVED: frozenset[str] = frozenset()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=8), json_values, max_size=5)


def columns_of(values: dict[str, Any], types: Types | None = None, reserved: frozenset[str] = NONE_RESERVED) -> dict[str, Any]:
    row: dict[str, Any] = {}
    take_free(row, values, {} if types is None else types, reserved)
    return row


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("Order Completed", "order_completed"),
        ("orderCompleted", "order_completed"),
        ("HTTPStatus", "http_status"),
        ("../../etc/passwd", "etc_passwd"),
        ("$price (€)", "price"),
        ("день", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_a_name_is_in_snake_case_and_nothing_else(name: str, column: str) -> None:
    assert snake(name) == column


@given(st.text())
def test_no_name_is_anything_but_a_name(name: str) -> None:
    found = snake(name)
    assert 0 < len(found) <= NAME_CHARACTERS_AT_MOST
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


def test_objects_are_flattened_and_lists_are_text() -> None:
    row = columns_of({"address": {"street": "6th Street", "geo": {"lat": 1.5}}, "tags": ["a", "ä"], "left": None})
    assert row == {"address_street": "6th Street", "address_geo_lat": 1.5, "tags": '["a","ä"]'}


def test_the_first_value_decides_and_what_does_not_fit_is_null() -> None:
    types: Types = {}
    assert columns_of({"total": 12}, types) == {"total": 12.0}
    assert (
        columns_of({"total": "a dozen"}, types) == columns_of({"total": 2**60}, types) == columns_of({"total": True}, types) == {}
    )
    assert columns_of({"total": 12.5}, types) == {"total": 12.5}


def test_text_takes_everything_as_json() -> None:
    types = {"size": "text"}
    assert [columns_of({"size": value}, types)["size"] for value in ("L", 42, True, ["M"])] == ["L", "42", "true", '["M"]']


def test_a_name_that_a_table_has_itself_is_left_to_the_json() -> None:
    assert columns_of({"id": 1, "ID": 2, "colour": "red"}, reserved=frozenset({"id"})) == {"colour": "red"}


def test_a_table_has_no_more_columns_than_somebody_can_read() -> None:
    types: Types = {}
    columns_of({f"name {number}": 1 for number in range(COLUMNS_AT_MOST + 5)}, types)
    assert len(types) == COLUMNS_AT_MOST


@given(st.lists(objects, max_size=5))
def test_every_cell_has_the_type_of_its_column(rows: list[dict[str, Any]]) -> None:
    types: Types = {}
    python = {"text": str, "number": float, "flag": bool}
    for values in rows:
        for column, value in columns_of(values, types).items():
            assert type(value) is python[types[column]]


@given(json_values.filter(lambda value: value is not None))
def test_what_is_alone_in_its_column_fits_unless_it_is_too_large_a_number(value: Any) -> None:
    cell = fitting(value, kind_of(value))
    if cell is None:
        assert isinstance(value, int)
        assert abs(value) > 2**53
    elif isinstance(value, str):
        assert cell == value
    else:
        assert json.loads(cell) == value if isinstance(cell, str) else cell == value
