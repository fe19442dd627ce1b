"""What a migration may say while services of the release before are running (decision 82): it adds, and takes nothing away.

Looks at the SQL of one migration, statement by statement. What it does to tables that it made itself is nobody's business yet.
"""

import io
import re
from collections.abc import Iterator
from types import ModuleType

from alembic.migration import MigrationContext
from alembic.operations import Operations

NAME = r'(?:ONLY\s+)?(?:IF\s+(?:NOT\s+)?EXISTS\s+)?((?:"?\w+"?\.)?"?\w+"?)'
MADE = re.compile(rf"\bCREATE\s+(?:UNLOGGED\s+)?TABLE\s+{NAME}", re.IGNORECASE)
# What takes something away or forbids it to who doesn't know of it.
TAKEN = {
    "drops": re.compile(r"^DROP\b|\bDROP\s+(?:COLUMN|CONSTRAINT|DEFAULT|EXPRESSION|IDENTITY)\b", re.IGNORECASE),
    "renames": re.compile(r"\bRENAME\b", re.IGNORECASE),
    "changes a type": re.compile(r"\bALTER\s+(?:COLUMN\s+)?\S+\s+(?:SET\s+DATA\s+)?TYPE\b", re.IGNORECASE),
    "forbids NULL": re.compile(r"\bSET\s+NOT\s+NULL\b", re.IGNORECASE),
    "moves a table": re.compile(r"^ALTER\s+TABLE\b.*\bSET\s+SCHEMA\b", re.IGNORECASE | re.DOTALL),
    "takes a right": re.compile(r"^REVOKE\b", re.IGNORECASE),
    "deletes": re.compile(r"^(?:DELETE|TRUNCATE)\b", re.IGNORECASE),
}
ADDED_COLUMN = re.compile(r"\bADD\s+(?:COLUMN\s+)?(?!CONSTRAINT|UNIQUE|PRIMARY|FOREIGN|CHECK|EXCLUDE)([^,;]*)", re.IGNORECASE)
CONSTRAINT = re.compile(
    r"\bADD\s+(?:CONSTRAINT|UNIQUE|PRIMARY|FOREIGN|CHECK|EXCLUDE)\b(?!.*\bNOT\s+VALID\b)", re.IGNORECASE | re.DOTALL
)
INDEX = re.compile(rf"^CREATE\s+(?:UNIQUE\s+)?INDEX\b.*?\bON\s+{NAME}", re.IGNORECASE | re.DOTALL)
ALTERED = re.compile(rf"^ALTER\s+TABLE\s+{NAME}", re.IGNORECASE)
UPDATED = re.compile(rf"^UPDATE\s+{NAME}", re.IGNORECASE)
BODY = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
COMMENT = re.compile(r"--[^\n]*")


def sql_of(migration: ModuleType) -> str:
    """What it would send."""
    sent = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": sent})
    with Operations.context(context):
        migration.upgrade()
    return sent.getvalue()


def takes_away(sql: str) -> list[str]:
    """What a service of the release before would miss, or wait for: "drops: ALTER TABLE ..."; empty: it only adds."""
    made = {found[1].strip('"') for found in MADE.finditer(COMMENT.sub("", sql))}
    return [f"{what}: {statement[:80]}" for statement in statements(sql, "''") for what in _offences(statement, made)]


def statements(sql: str, bodies: str = r"\g<0>") -> Iterator[str]:
    """Without comments and line ends; with something else in place of functions' bodies, which may have statements in them."""
    for statement in BODY.sub(bodies, COMMENT.sub("", sql)).split(";"):
        if text := " ".join(statement.split()):
            yield text


def _offences(statement: str, made: set[str]) -> Iterator[str]:
    about = next((found[1].strip('"') for kind in (ALTERED, INDEX, UPDATED) if (found := kind.match(statement))), None)
    if about in made:
        return
    yield from (what for what, pattern in TAKEN.items() if pattern.search(statement) and not _of_everybody(statement))
    if ALTERED.match(statement):
        if any(_is_demanded(column[1]) for column in ADDED_COLUMN.finditer(statement)):
            yield "adds a column that the release before doesn't fill"
        if CONSTRAINT.search(statement):
            yield "adds a constraint that is checked at once (NOT VALID, and VALIDATE in another migration)"
    if INDEX.match(statement) and not re.search(r"\bCONCURRENTLY\b", statement, re.IGNORECASE):
        yield "makes an index while nobody can write"
    if UPDATED.match(statement):
        yield "writes rows that others write"


def _of_everybody(statement: str) -> bool:
    """From PUBLIC, to whom PostgreSQL gives by itself what it makes: taken of something that is made here."""
    return bool(re.match(r"^REVOKE\b.*\bFROM\s+PUBLIC$", statement, re.IGNORECASE))


def _is_demanded(column: str) -> bool:
    return bool(re.search(r"\bNOT\s+NULL\b", column, re.IGNORECASE)) and not re.search(
        r"\bDEFAULT\b|\bGENERATED\b", column, re.IGNORECASE
    )
