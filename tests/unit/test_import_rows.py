"""Files of rows: what was written is read, from every place, in bounded memory."""

import csv
import hashlib
import io
import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from services.cli.errors import Misused
from services.cli.importing import rows as rows_module
from services.cli.importing.csv_rows import CsvRows
from services.cli.importing.json_rows import JsonRows
from services.cli.importing.mapping import CsvForm
from services.cli.importing.parquet_rows import BATCH_ROWS, ParquetRows
from services.cli.importing.rows import RECORD_BYTES_AT_MOST, Row, Rows, content_of, format_of

COLUMNS = ["id", "näme", "note"]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tables = st.lists(st.tuples(texts.filter(bool), texts, texts), max_size=20)


def csv_rows(data: bytes, form: CsvForm | None = None) -> CsvRows:
    return CsvRows(io.BytesIO(data), form or CsvForm(), len(data))


def json_rows(data: bytes) -> JsonRows:
    return JsonRows(io.BytesIO(data), len(data))


def values(rows: Rows, columns: list[str]) -> list[list[Any]]:
    return [list(row.values or ()) for row in rows.read(columns, None)]


def reasons(rows: Rows, columns: list[str]) -> list[tuple[int, int, str]]:
    return [(row.at.row, row.at.line, row.reason) for row in rows.read(columns, None) if row.values is None]


@given(tables, st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_a_csv_writer_wrote_is_read(table: list[tuple[str, ...]], delimiter: str, line_end: str, mark: bool) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows([COLUMNS, *table])
    data = (b"\xef\xbb\xbf" if mark else b"") + file.getvalue().encode()
    rows = csv_rows(data, CsvForm(delimiter=delimiter))
    assert rows.columns() == COLUMNS
    assert values(rows, COLUMNS) == [list(row) for row in table]
    assert_can_go_on(rows, ["note", "id"])


@given(
    st.lists(st.dictionaries(texts, st.none() | st.integers(-(2**63), 2**63 - 1) | texts, max_size=4), max_size=20), st.booleans()
)
def test_what_was_written_as_json_lines_is_read(objects: list[dict[str, Any]], ascii_only: bool) -> None:
    data = "\n\n".join(json.dumps(item, ensure_ascii=ascii_only) for item in objects).encode()
    names = sorted({name for item in objects for name in item})
    rows = json_rows(data)
    assert values(rows, names) == [[item[name] if name in item else _path(item, name) for name in names] for item in objects]
    assert_can_go_on(rows, names)


def _path(item: Any, name: str) -> Any:
    for part in name.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item


def assert_can_go_on(rows: Rows, columns: list[str]) -> None:
    """From where each row ended: the same as if it had been read in one go."""
    whole: list[Row] = list(rows.read(columns, None))
    for number, row in enumerate(whole):
        assert list(rows.read(columns, row.after)) == whole[number + 1 :]
        assert row.after.row == row.at.row + 1


def test_empty_lines_are_no_rows_and_line_numbers_are_the_files() -> None:
    rows = csv_rows(b'id,note\n\n1,"a\n\nb"\n\n\n2\n3,x\n')
    assert reasons(rows, ["id"]) == [(2, 8, "COLUMNS_WRONG")]
    assert values(rows, ["id"])[-1] == ["3"]
    assert reasons(json_rows(b'{"a":1}\n\n{"a":\n[1]\n'), ["a"]) == [(2, 3, "JSON_BROKEN"), (3, 4, "NOT_AN_OBJECT")]


def test_a_broken_row_is_refused_and_the_next_one_read() -> None:
    rows = csv_rows(b'id,note\n1,"a"b\n2,\xff\n3,c\n')
    assert reasons(rows, ["id"]) == [(1, 2, "CSV_BROKEN"), (2, 3, "ENCODING_WRONG")]
    assert values(rows, ["id", "note"])[-1] == ["3", "c"]


def test_other_encodings_are_read_when_they_are_named() -> None:
    data = "id;näme\n1;Käthe €\n".encode("cp1252")
    assert values(csv_rows(data, CsvForm(";", '"', "cp1252")), ["näme"]) == [["Käthe €"]]


def test_a_quote_that_is_never_closed_ends_the_import_and_says_where() -> None:
    data = b'id,note\n1,a\n2,"open\n' + b"x\n" * RECORD_BYTES_AT_MOST
    with pytest.raises(Misused, match=r"the record that begins in line 3 .* is a quote not closed"):
        values(csv_rows(data), ["id"])


def test_a_file_without_line_ends_is_not_read_into_memory() -> None:
    with pytest.raises(Misused, match="FILE_BROKEN"):
        csv_rows(b"x" * (RECORD_BYTES_AT_MOST + 10))


def test_a_json_line_that_is_too_large_is_refused_and_the_next_one_read() -> None:
    data = b'{"a":"' + b"x" * 3 * RECORD_BYTES_AT_MOST + b'"}\n{"a":1}'
    rows = json_rows(data)
    assert reasons(rows, ["a"]) == [(1, 1, "ROW_TOO_LARGE")]
    assert values(rows, ["a"])[-1] == [1]


def test_a_dot_leads_into_an_object_unless_the_key_has_one() -> None:
    assert values(json_rows(b'{"a":{"b":1}}\n{"a.b":2}\n{"a":3}'), ["a.b"]) == [[1], [2], [None]]


@given(st.binary(max_size=50), st.integers(0, 60), st.integers(1, 20))
def test_a_file_that_has_grown_is_recognised_by_its_beginning(data: bytes, earlier_bytes: int, read_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "READ_BYTES", read_bytes)
        found = content_of(io.BytesIO(data), earlier_bytes, lambda read: None)
    assert found.digest == hashlib.sha256(data).digest()
    assert found.size_bytes == len(data)
    beginning = hashlib.sha256(data[:earlier_bytes]).digest() if earlier_bytes <= len(data) else None
    assert found.earlier_digest == beginning


@pytest.fixture(scope="module")
def parquet_file() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        count = BATCH_ROWS + 500
        moments = pyarrow.array([1_700_000_000_123_456_789 + number for number in range(count)], pyarrow.timestamp("ns", "UTC"))
        table = pyarrow.table({"id": [f"u{number}" for number in range(count)], "n": list(range(count)), "at": moments})
        parquet.write_table(table, path, row_group_size=BATCH_ROWS - 100)
        yield path


def test_a_parquet_file_is_read_by_row_groups_and_from_any_row(parquet_file: Path) -> None:
    rows = ParquetRows(parquet_file)
    whole = list(rows.read(["n", "id"], None))
    assert [list(row.values or ()) for row in whole[:2]] == [[0, "u0"], [1, "u1"]]
    assert [row.at.row for row in whole] == list(range(1, BATCH_ROWS + 501))
    for number in (0, 1, BATCH_ROWS - 101, BATCH_ROWS - 100, BATCH_ROWS, len(whole) - 1):
        assert list(rows.read(["n", "id"], whole[number].after)) == whole[number + 1 :]


def test_nanoseconds_are_cut(parquet_file: Path) -> None:
    first = next(iter(ParquetRows(parquet_file).read(["at"], None)))
    assert first.values is not None
    assert first.values[0].microsecond == 123_456


def test_a_cell_that_gives_no_value_costs_its_row_and_no_other(tmp_path: Path) -> None:
    raw = pyarrow.array([b"ann", b"\xff\xfe", b"cat", b"dan", None, b"ann"]).cast(pyarrow.binary())
    names = pyarrow.Array.from_buffers(pyarrow.string(), len(raw), raw.buffers())
    moments = pyarrow.array([0, 1, 10**18, 3, None, 5], pyarrow.timestamp("us", "UTC"))
    parquet.write_table(pyarrow.table({"name": names, "at": moments}), tmp_path / "x.parquet")
    found = list(ParquetRows(tmp_path / "x.parquet").read(["name", "at"], None))
    assert [row.reason for row in found] == ["", "VALUE_INVALID", "VALUE_INVALID", "", "", ""]
    assert [row.values[0] for row in found if row.values] == ["ann", "dan", None, "ann"]
    assert [row.at.row for row in found] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("packed", [True, False])
def test_a_small_file_of_large_values_is_read_in_little_memory(tmp_path: Path, packed: bool) -> None:
    values = ["x" * (RECORD_BYTES_AT_MOST // 4), "y" * (RECORD_BYTES_AT_MOST + 1)] * 200
    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"note": values}), path, use_dictionary=packed, compression="zstd", write_batch_size=1)
    del values
    rows = ParquetRows(path)
    before, most = pyarrow.total_allocated_bytes(), 0
    tracemalloc.start()
    reasons_found = set()
    for row in rows.read(["note"], None):
        most = max(most, pyarrow.total_allocated_bytes() - before)
        reasons_found.add(row.reason)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reasons_found == {"", "ROW_TOO_LARGE"}
    assert most + peak < 50 * RECORD_BYTES_AT_MOST


def test_a_page_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pyarrow.table({"id": range(70), "note": ["x" * 1024 * 1024] * 70})
    parquet.write_table(table, path, use_dictionary=False, compression="zstd", data_page_size=2**30)
    del table
    before = pyarrow.total_allocated_bytes()
    with pytest.raises(Misused, match=r"PAGE_TOO_LARGE.*note"):
        next(ParquetRows(path).read(["note"], None))
    assert pyarrow.total_allocated_bytes() - before < RECORD_BYTES_AT_MOST
    assert len(list(ParquetRows(path).read(["id"], None))) == 70


@pytest.mark.parametrize("packed", [True, False])
def test_a_field_of_an_object_is_a_column_by_its_path(tmp_path: Path, packed: bool) -> None:
    people = [{"id": "u1", "at": {"city": "Hull"}}, None, {"id": "u3", "at": None}]
    table = pyarrow.table({"who": people, "x.y": [1, 2, 3], "x": [{"y": 7}] * 3, "tags": [["a", "b"], [], None]})
    parquet.write_table(table, tmp_path / "x.parquet", use_dictionary=packed)
    rows = ParquetRows(tmp_path / "x.parquet")
    assert set(rows.columns()) == {"who", "who.id", "who.at", "who.at.city", "x.y", "x", "tags"}
    found = [row.values for row in rows.read(["who.at.city", "x.y", "who.id"], None)]
    assert [list(values or ()) for values in found] == [["Hull", 1, "u1"], [None, 2, None], [None, 3, "u3"]]
    found = [row.values for row in rows.read(["who", "tags"], None)]
    assert [list(values or ()) for values in found] == [[people[0], ["a", "b"]], [None, []], [people[2], None]]


def test_what_is_no_parquet_file_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(Misused, match="FILE_BROKEN"):
        ParquetRows(tmp_path / "x.parquet")


def test_the_format_is_told_by_the_ending_or_by_name() -> None:
    assert [format_of(Path(name)) for name in ("a.CSV", "a.tsv", "a.ndjson", "a.parquet")] == ["csv", "csv", "jsonl", "parquet"]
    assert format_of(Path("a.txt"), "csv") == "csv"
    for path, named in (("a.xlsx", ""), ("a.csv", "xml")):
        with pytest.raises(Misused, match="FORMAT_UNKNOWN"):
            format_of(Path(path), named)


def test_a_file_of_another_encoding_and_an_empty_one_are_told_as_such() -> None:
    with pytest.raises(Misused, match=r"FILE_BROKEN.*not UTF-8; set csv\.encoding"):
        csv_rows("id,n\xe4me\n1,x\n".encode("cp1252"))
    assert csv_rows("id,n\xe4me\n1,x\n".encode("cp1252"), CsvForm(encoding="cp1252")).columns() == ["id", "n\xe4me"]
    for nothing in b"", b"\n\n", b"\xef\xbb\xbf":
        with pytest.raises(Misused, match="FILE_EMPTY"):
            csv_rows(nothing)
