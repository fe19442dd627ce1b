"""A migration leaves the release before working (decision 82): it only adds. What takes away comes a release later, and says so."""

import ast
import hashlib
import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.architecture.expanding import sql_of, statements, takes_away

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "shared" / "vault" / "migrations", *sorted((ROOT / "services").glob("*/migrations"))]
MIGRATIONS = [path for folder in FOLDERS for path in sorted(folder.glob("[0-9]*.py"))]

# They take away what no release had: the services of the commit before don't run meanwhile. None comes to these.
BEFORE_THE_FIRST_RELEASE = ("ingest 0002_owned_and_counted", "consent 0002_owned_and_guardians", "profile 0003_owned_and_numbered")
FIXED = ROOT / "tests" / "architecture" / "migrations.txt"

SOURCES = [path for folder in ("services", "shared") for path in sorted((ROOT / folder).rglob("*.py"))]


def name_of(path: Path) -> str:
    return f"{path.parent.parent.name} {path.stem}"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"migration_{path.parent.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def released(path: Path) -> bool:
    """Whether the newest release has this file."""
    git = ("git", "-C", str(ROOT))
    tag = subprocess.run((*git, "describe", "--tags", "--abbrev=0"), capture_output=True, text=True, check=False).stdout.strip()
    if not tag:
        return False
    there = subprocess.run((*git, "cat-file", "-e", f"{tag}:{path.relative_to(ROOT)}"), capture_output=True, check=False)
    return there.returncode == 0


def test_no_migration_is_ever_changed() -> None:
    """Whoever has data would have to throw them away: their database was told that it is at that version."""
    found = [f"{name_of(path)} {_digest(load(path))}" for path in MIGRATIONS]
    assert FIXED.read_text().splitlines() == found, "say it in a migration of its own, and write that one's line here"


def _digest(migration: ModuleType) -> str:
    """Of what it does to the schema, however it is written down."""
    return hashlib.sha256(";".join(statements(sql_of(migration))).encode()).hexdigest()[:16]


@pytest.mark.parametrize("path", [path for path in MIGRATIONS if name_of(path) not in BEFORE_THE_FIRST_RELEASE], ids=name_of)
def test_a_migration_only_adds_or_ends_what_a_release_began(path: Path) -> None:
    migration = load(path)
    if (begun := getattr(migration, "contracts", None)) is None:
        assert takes_away(sql_of(migration)) == []
    else:
        expansion = next(path.parent.glob(f"{begun}_*.py"))
        assert expansion.name < path.name, f"{path.name} ends what {expansion.name} began, which comes later"
        assert released(expansion), f"{expansion.name} is in no release yet: services that need what this takes away may be running"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_migrations_are_one_chain_in_the_order_of_their_names(folder: Path) -> None:
    chain = [(module.revision, module.down_revision) for module in map(load, sorted(folder.glob("[0-9]*.py")))]
    assert [revision for revision, _ in chain] == [f"{number + 1:04}" for number in range(len(chain))]
    assert [down for _, down in chain] == [None, *(revision for revision, _ in chain)][:-1]


ALL_COLUMNS = re.compile(r"\b(?:SELECT|RETURNING) (?:\w+\.)?\*", re.IGNORECASE)


def taken_whole(source: str) -> list[str]:
    """Functions that ask for whatever columns there are and hand them all on, as in `Row(**row)`."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function.name for function in functions if _asks_for_all(function) and _hands_on_all(function)]


def _asks_for_all(function: ast.AST) -> bool:
    texts = (node.value for node in ast.walk(function) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return any(ALL_COLUMNS.search(text) for text in texts)


def _hands_on_all(function: ast.AST) -> bool:
    return any(
        keyword.arg is None and "row" in ast.unparse(keyword.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_row_is_taken_with_columns_that_a_later_release_may_add(path: Path) -> None:
    assert taken_whole(path.read_text()) == []


def test_a_row_that_is_taken_whole_is_found() -> None:
    whole = "async def read(pool):\n    row = await pool.fetchrow('SELECT * FROM t')\n    return Row(**dict(row))"
    assert taken_whole(whole) == ["read"]
    assert taken_whole(whole.replace("*", "id", 1)) == []


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE events DROP COLUMN leaf",
        "DROP INDEX matches_by_other",
        "DROP TABLE parked",
        "ALTER TABLE events RENAME COLUMN leaf TO hash",
        "ALTER TABLE events RENAME TO facts",
        "ALTER TABLE events ALTER COLUMN version TYPE int4",
        "ALTER TABLE events ALTER version SET DATA TYPE int4",
        "ALTER TABLE events ALTER COLUMN leaf SET NOT NULL",
        "ALTER TABLE events ADD COLUMN tenant int4 NOT NULL",
        "ALTER TABLE events ADD tenant int4 NULL, ADD region text NOT NULL",
        "ALTER TABLE events ADD CONSTRAINT small CHECK (version < 9)",
        "ALTER TABLE events ALTER COLUMN pos DROP IDENTITY IF EXISTS",
        "ALTER TABLE events SET SCHEMA other",
        "CREATE INDEX events_by_type ON events (type_id)",
        "CREATE UNIQUE INDEX one ON profile.events (event_id)",
        "REVOKE INSERT ON events FROM c360_profile",
        "UPDATE events SET type_id = 'x'",
        "DELETE FROM parked",
        "TRUNCATE parked",
    ],
)
def test_what_takes_away_is_found(sql: str) -> None:
    assert len(takes_away(f"CREATE TABLE another (id int4 NOT NULL); {sql};")) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (id int4 NOT NULL); CREATE INDEX ON t (id); ALTER TABLE t ALTER COLUMN id TYPE int8; UPDATE t SET id = 1",
        "CREATE TABLE s.t (id int4); CREATE UNIQUE INDEX one ON s.t (id)",
        "ALTER TABLE events ADD COLUMN tenant int4",
        "ALTER TABLE events ADD COLUMN tenant int4 NOT NULL DEFAULT 0, ADD region text",
        "ALTER TABLE events ADD CONSTRAINT small CHECK (version < 9) NOT VALID",
        "ALTER TABLE events VALIDATE CONSTRAINT small",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS events_by_type ON events (type_id)",
        "GRANT SELECT ON events TO c360_profile",
        "REVOKE ALL ON FUNCTION exchange(text[]) FROM PUBLIC",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM parked; DROP TABLE x $$",
        "-- DROP TABLE events;\nCREATE TABLE t (id int4)",
    ],
)
def test_what_adds_is_let_through(sql: str) -> None:
    assert takes_away(f"{sql};") == []
