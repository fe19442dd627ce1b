"""Connections go back to their pool as they are (`shared/store/pool.py`), so nothing may be left in a session: no setting, no
lock, no cursor, no listener. The seam's connections are its own; migrations, rotations and the embedded server's set-up use no pool, and
the pool of a rebuild of identity's tables ends with it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_FROM_A_POOL = (
    "shared/log/seam/",
    "shared/store/alembic/",
    "shared/store/migrate.py",
    "services/identity/tables/expected.py",
    "services/identity/tables/told.py",
    "services/migrate.py",
    "services/rotate.py",
    "services/stack/",
)
SOURCES = [
    path
    for folder in ("services", "shared")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not str(path.relative_to(ROOT)).startswith(NOT_FROM_A_POOL) and path.parent.name != "migrations"
]
LEFT_BEHIND = re.compile(
    r"""(?:^|;)\s*SET\s+(?!LOCAL\b)      # SET LOCAL ends with its transaction, and UPDATE ... SET begins otherwise
      | \bset_config\s*\((?!.*\btrue\s*\))
      | (?:^|;)\s*(?:LISTEN|PREPARE)\b
      | \bWITH\s+HOLD\b
      | \bCREATE\s+(?:TEMP|TEMPORARY)\b
      | \bpg_(?:try_)?advisory_lock""",
    re.VERBOSE | re.DOTALL,
)
METHODS = {"add_listener", "set_type_codec"}


def left_behind(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and LEFT_BEHIND.search(node.value):
            yield node.value
        if isinstance(node, ast.Attribute) and node.attr in METHODS:
            yield node.attr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_in_a_session(path: Path) -> None:
    assert list(left_behind(path.read_text())) == []


@pytest.mark.parametrize(
    ("statement", "leaves"),
    [
        ("SET statement_timeout = 0", True),
        ("SELECT 1; SET search_path TO vault", True),
        ("SELECT set_config('search_path', $1, false)", True),
        ("LISTEN news", True),
        ("SELECT pg_advisory_lock(1)", True),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", True),
        ("SET LOCAL statement_timeout = 0", False),
        ("UPDATE holds\n SET released_at = 1", False),
        ("SELECT pg_advisory_xact_lock(1)", False),
        ("Set by SIGTERM.", False),
    ],
)
def test_what_a_statement_leaves_is_known(statement: str, leaves: bool) -> None:
    assert bool(list(left_behind(repr(statement)))) == leaves
