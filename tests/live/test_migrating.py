"""A migration waits for its locks in short turns, so that services which are running don't wait behind it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from services.migrate import DATABASE, of_database
from services.stack.stack import Stack
from shared.store import migrate
from shared.store.migrate import upgrade

SCHEMA = "migrating"
PATIENCE = "SET statement_timeout = '20s'"  # many times as long as the migration waits for a lock
WITHIN_S = 60.0

MADE = """
from alembic import op
revision, down_revision = "0001", None
def upgrade():
    op.execute("CREATE TABLE kept (id int4)")
"""
WIDENED = """
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.execute("CREATE TABLE beside (id int4)")
    op.execute("ALTER TABLE kept ADD COLUMN more text")
"""


@pytest.fixture
def url(servers: Stack, tmp_path: Path) -> Iterator[str]:
    """A database with a schema that isn't at its newest version."""
    found = of_database(servers.admin_url, DATABASE)
    (tmp_path / "0001_made.py").write_text(MADE)
    upgrade(found, SCHEMA, tmp_path)
    (tmp_path / "0002_widened.py").write_text(WIDENED)
    yield found
    with psycopg.connect(found, autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as admin:
        rows = admin.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", [SCHEMA]).fetchall()
    return {name for (name,) in rows} - {"alembic_version"}


def test_who_comes_after_it_goes_on_while_it_waits(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "PAUSE_S", 0.1)
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as service, ThreadPoolExecutor(1) as beside:
        holder.execute(f"SELECT FROM {SCHEMA}.kept")
        migrating = beside.submit(upgrade, url, SCHEMA, tmp_path)
        service.execute(PATIENCE)
        for _ in range(20):
            service.execute(f"INSERT INTO {SCHEMA}.kept (id) VALUES (1)")
        assert not migrating.done()
        holder.commit()
        migrating.result(WITHIN_S)
        service.execute(f"INSERT INTO {SCHEMA}.kept (id, more) VALUES (1, 'x')")
    assert tables(url) == {"kept", "beside"}


def test_what_gets_no_lock_has_done_nothing(url: str, tmp_path: Path) -> None:
    with psycopg.connect(url) as holder:
        holder.execute(f"SELECT FROM {SCHEMA}.kept")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            upgrade(url, SCHEMA, tmp_path, tries=1)
    assert tables(url) == {"kept"}
    upgrade(url, SCHEMA, tmp_path)
    assert tables(url) == {"kept", "beside"}
