"""A generator that reads another one closes it: what that holds, connections and snapshots, isn't left to the collector."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py"))
NOT_OURS = {"request.stream()"}  # no generator that we could close


def left_open(source: str) -> list[str]:
    """What a generator here reads without `aclosing`."""
    found = []
    for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.AsyncFunctionDef)):
        own = [node for node in ast.walk(function) if not isinstance(node, ast.AsyncFunctionDef)]
        if any(isinstance(node, ast.Yield) for node in own):
            found += [ast.unparse(node.iter) for node in own if isinstance(node, ast.AsyncFor) and isinstance(node.iter, ast.Call)]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_generator_closes_those_that_it_reads(path: Path) -> None:
    assert [call for call in left_open(path.read_text()) if call not in NOT_OURS] == []


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("async for x in pages(): yield x", ["pages()"]),
        ("async for x in opened: yield x", []),
        ("async for x in pages(): print(x)", []),
    ],
)
def test_what_is_left_open_is_known(body: str, left: list[str]) -> None:
    assert left_open(f"async def read():\n    {body}") == left
