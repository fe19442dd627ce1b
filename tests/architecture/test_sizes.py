"""Files and functions stay small enough to be read at once."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES_A_FILE = 300
MOST_LINES_A_FUNCTION = 70
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}

SOURCES = sorted(
    path
    for folder in ("clients", "docs_site", "services", "shared", "verify")
    for path in (ROOT / folder).rglob("*.py")
    if not path.stem.endswith("_pb2")  # nobody wrote it
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_fits_in_one_reading(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES_A_FILE


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [
        f"{f.name} ({f.end_lineno - f.lineno + 1})"
        for f in functions
        if f.end_lineno and f.end_lineno - f.lineno >= MOST_LINES_A_FUNCTION
    ]
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_name_says_what_is_inside(path: Path) -> None:
    assert path.stem not in BANNED_NAMES
