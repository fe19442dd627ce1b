"""The code of a release works on the schema of the next one, which only adds (decision 82): here to every table, under traffic.

A column that may be left out, without a default and with one, is added to each table of each schema while the services run, as a
migration would; then every service is started anew on it, and a story is played.
"""

import random

import psycopg
import pytest
from psycopg import sql

from services.migrate import DATABASE, VAULT_DATABASE, of_database
from services.stack.stack import Stack
from shared.store.migrate import LOCK_WAIT_MS
from tests.e2e.client import Platform
from tests.e2e.story import Story
from tests.e2e.test_kill import wait_for_progress
from tests.e2e.turmoil import turmoil
from tests.live.command import Command

TABLES = """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
            WHERE relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND relname <> 'alembic_version'"""
COLUMNS = "ALTER TABLE {} ADD COLUMN of_the_next_release text, ADD COLUMN counted_by_it int8 NOT NULL DEFAULT 0"
TRIES = 60


@pytest.mark.timeout(600)  # a few seconds of work; a busy machine takes many times that
def test_what_the_next_release_adds_to_every_table_disturbs_nobody(own_stack: Stack) -> None:
    with turmoil(own_stack, random.Random(82), people=10) as traffic:
        wait_for_progress(traffic)
        for database in (DATABASE, VAULT_DATABASE):
            assert expand(of_database(own_stack.admin_url, database)) > 0
        wait_for_progress(traffic)
        for service in own_stack.services:
            own_stack.kill(service)
            own_stack.wait_ready(service)
        wait_for_progress(traffic)
        counted = traffic.finish()
    assert counted.problems == []
    assert (counted.lost, counted.doubled) == (0, 0), str(counted)
    assert counted.visible == counted.sent == counted.acknowledged
    with Platform(own_stack.endpoints) as platform:
        assert Story(platform, {"C360_DATA_DIR": str(own_stack.data_directory)}).play().checks > 20
    Command(own_stack.data_directory).run("audit", "verify")


def expand(url: str) -> int:
    """How many tables."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"SET lock_timeout TO {LOCK_WAIT_MS}")
        tables = admin.execute(TABLES).fetchall()
        for schema, table in tables:
            _add(admin, sql.SQL(COLUMNS).format(sql.Identifier(schema, table)))
    return len(tables)


def _add(admin: psycopg.Connection, statement: sql.Composed) -> None:
    for left in reversed(range(TRIES)):
        try:
            admin.execute(statement)
            return
        except psycopg.errors.LockNotAvailable:
            if not left:
                raise
