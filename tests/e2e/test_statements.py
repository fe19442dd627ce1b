"""What the services really say to PostgreSQL while a story is played: what Citus couldn't distribute isn't among it.

A statement on a distributed table names where its rows lie, in one of three ways: by a value (`partition = $1`, `= ANY($1)`), which
one shard answers; row by row, beside each key that it looks up (`ON partition = p AND stream = s`), which is correct, finds each row
by an index, and which every shard is asked; or it writes rows that say it themselves. Nothing goes through a whole table but what
is named here.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlglot
from sqlglot import exp

from services import distribution
from services.stack.stack import Stack
from tests.e2e.client import Platform
from tests.e2e.story import Story
from tests.stacks import fresh_stack

COLUMN_OF = {one.table.split(".")[1]: one.column for one in distribution.DISTRIBUTED}
SAID = re.compile(r" UTC \[\d+\] c360_(\w+)@(\w+) LOG:  (?:execute [^:]*|statement): (.*)", re.DOTALL)
FORBIDDEN = re.compile(r"\b(pg_(try_)?advisory\w*|LISTEN|NOTIFY|pg_notify|nextval|LOCK\s+TABLE)\b", re.IGNORECASE)
# Of the heads, which are a row a partition.
OF_ALL_PARTITIONS = {"SELECT max(edition) FROM partition_heads", "SELECT partition, next_pos FROM partition_heads"}
# What is a value for Citus' planner: a parameter, or a constant.
VALUES = (exp.Parameter, exp.Any, exp.Literal, exp.Placeholder)


@pytest.fixture(scope="module")
def said() -> Iterator[set[tuple[str, str]]]:
    """(service, statement)."""
    with fresh_stack() as stack:
        _log_statements(stack)
        stack.kill("profile")  # what is said at a start counts too
        stack.wait_ready("profile")
        with Platform(stack.endpoints) as platform:
            Story(platform, {"C360_DATA_DIR": str(stack.data_directory)}).play()
        yield set(_statements(stack.data_directory / "logs" / "postgres.log"))


def _log_statements(stack: Stack) -> None:
    with psycopg.connect(stack.admin_url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET log_statement = 'all'")
        admin.execute("SELECT pg_reload_conf()")


def _statements(log: Path) -> Iterator[tuple[str, str]]:
    for entry in re.split(r"\n(?=\d{4}-\d\d-\d\d )", log.read_text()):
        if (found := SAID.search(entry)) is not None:
            yield found[1], " ".join(found[3].split())


def test_there_is_much_to_look_at(said: set[tuple[str, str]]) -> None:
    tables = {table for statement in _of_profile(said) for table in _distributed(statement)}
    assert {"partition_heads", "events", "states", "identifiers", "decisions"} <= tables


def test_no_table_or_advisory_lock_no_sequence_and_no_notice(said: set[tuple[str, str]]) -> None:
    assert [text for _, text in said if FORBIDDEN.search(text)] == []


def test_each_statement_says_where_its_rows_lie(said: set[tuple[str, str]]) -> None:
    statements = _of_profile(said)
    assert [
        (table, text)
        for statement, text in statements.items()
        for table in _distributed(statement)
        if not _is_placed(statement, COLUMN_OF[table]) and text not in OF_ALL_PARTITIONS
    ] == []


def _of_profile(said: set[tuple[str, str]]) -> dict[exp.Expr, str]:
    """What names one of the distributed tables."""
    naming = re.compile(rf"\b({'|'.join(COLUMN_OF)})\b")
    texts = [text for service, text in said if service == "profile" and naming.search(text)]
    return {sqlglot.parse_one(text.replace(" (FORMAT binary)", ""), "postgres"): text for text in texts}


def _distributed(statement: exp.Expr) -> set[str]:
    return {table.name for table in statement.find_all(exp.Table)} & COLUMN_OF.keys()


def _is_placed(statement: exp.Expr, column: str) -> bool:
    return _by_value(statement, column) or _row_by_row(statement, column) or _is_written(statement, column)


def _by_value(statement: exp.Expr, column: str) -> bool:
    return any(_is_of(one.this, column) and isinstance(one.expression, VALUES) for one in statement.find_all(exp.EQ))


def _row_by_row(statement: exp.Expr, column: str) -> bool:
    return any(_is_of(one.this, column) and isinstance(one.expression, exp.Column) for one in statement.find_all(exp.EQ))


def _is_written(statement: exp.Expr, column: str) -> bool:
    target = statement.find(exp.Insert, exp.Copy)
    return target is not None and isinstance(target.this, exp.Schema) and column in {one.name for one in target.this.expressions}


def _is_of(side: exp.Expr, column: str) -> bool:
    return isinstance(side, exp.Column) and side.name == column
