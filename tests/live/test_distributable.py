"""The schema can be distributed over several servers by Citus: asked of the catalogue of a migrated database, table by table."""

from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from services import distribution
from services.migrate import DATABASE, VAULT_DATABASE, of_database
from services.stack.stack import Stack
from tests.stacks import fresh_directory

COLUMN_OF = {one.table: one.column for one in (*distribution.DISTRIBUTED, *distribution.VAULT_DISTRIBUTED)}
SINGLE_TABLES = (
    *COLUMN_OF,
    *distribution.REFERENCE,
    *distribution.VAULT_REFERENCE,
    *distribution.WHOLE,
    *distribution.COORDINATOR,
)
OURS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
TABLES = f"SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p') AND {OURS}"
UNIQUE_INDEXES = f"""
    SELECT n.nspname || '.' || t.relname, i.relname, a.attname FROM pg_index x JOIN pg_class i ON i.oid = indexrelid
    JOIN pg_class t ON t.oid = indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = indrelid AND a.attnum = indkey[0] WHERE indisunique AND {OURS}"""
SEQUENCES = f"SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'S' AND {OURS}"
TRIGGERS = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
FOREIGN_KEYS = "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"


@pytest.fixture(scope="module")
def migrated() -> Iterator[Stack]:
    """Of its own: what other tests make beside the migrations stands in no list."""
    with fresh_directory() as directory, Stack(directory, services=(), disposable=True) as stack:
        yield stack


@pytest.fixture(params=[DATABASE, VAULT_DATABASE])
def database(migrated: Stack, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    with psycopg.connect(of_database(migrated.admin_url, request.param), autocommit=True) as connection:
        yield connection


def test_each_table_has_one_place(database: psycopg.Connection) -> None:
    for schema, table in database.execute(TABLES).fetchall():
        places = Counter(SINGLE_TABLES)[f"{schema}.{table}"] + (schema in distribution.WHOLE_SCHEMAS)
        assert places == 1, f"{schema}.{table} belongs into one list of services/distribution.py, and is in {places}"


def test_no_list_names_what_is_not_there(migrated: Stack) -> None:
    there = set()
    for name in (DATABASE, VAULT_DATABASE):
        with psycopg.connect(of_database(migrated.admin_url, name)) as connection:
            there |= {f"{schema}.{table}" for schema, table in connection.execute(TABLES).fetchall()}
    assert set(SINGLE_TABLES) <= there
    assert distribution.WHOLE_SCHEMAS.keys() <= {name.split(".")[0] for name in there}


def test_each_unique_index_of_a_distributed_table_begins_with_its_column(database: psycopg.Connection) -> None:
    indexes = [row for row in database.execute(UNIQUE_INDEXES).fetchall() if row[0] in COLUMN_OF]
    assert indexes
    assert [(table, index) for table, index, first in indexes if first != COLUMN_OF[table]] == []


def test_there_is_no_sequence_and_no_trigger(database: psycopg.Connection) -> None:
    assert database.execute(SEQUENCES).fetchall() == database.execute(TRIGGERS).fetchall() == []


def test_a_foreign_key_never_leaves_its_place(database: psycopg.Connection) -> None:
    for table, referred in database.execute(FOREIGN_KEYS).fetchall():
        together = table.split(".")[0] == referred.split(".")[0] and table.split(".")[0] in distribution.WHOLE_SCHEMAS
        assert together or referred in (*distribution.REFERENCE, *distribution.VAULT_REFERENCE), f"{table} refers to {referred}"
