"""Brings one schema to its newest version. Runs as the owner of the tables; the services' roles own nothing.

Services of the release before go on meanwhile (decision 82). What alters a table waits for a lock that everybody after it waits for too,
so it waits for a short time only, gives way, and tries again.
"""

import time
from pathlib import Path
from typing import Final

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config

ENVIRONMENT = Path(__file__).parent / "alembic"
LOCK_WAIT_MS: Final = 1_000  # as long may a statement of a service wait behind ours
PAUSE_S: Final = 1.0  # in which all that waited goes on
TRIES: Final = 60


def upgrade(url: str, schema: str, versions: Path, tries: int = TRIES) -> None:
    """`url` is a PostgreSQL URL of the owner, `versions` the folder of the schema's migrations. A second run changes nothing.

    All of it or nothing. Raises psycopg.errors.LockNotAvailable when somebody keeps a table for as long as all the tries.
    """
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=sqlalchemy.NullPool)
    try:
        for left in reversed(range(tries)):
            try:
                return _upgrade(engine, schema, versions)
            except sqlalchemy.exc.OperationalError as error:
                if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
                if not left:
                    raise error.orig from error
            time.sleep(PAUSE_S)
    finally:
        engine.dispose()


def _upgrade(engine: sqlalchemy.Engine, schema: str, versions: Path) -> None:
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout TO {LOCK_WAIT_MS}"))
        connection.execute(sqlalchemy.text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        connection.execute(sqlalchemy.text(f'SET LOCAL search_path TO "{schema}"'))
        config = Config()
        config.set_main_option("script_location", str(ENVIRONMENT))
        config.set_main_option("version_locations", str(versions))
        config.set_main_option("path_separator", "newline")
        config.attributes.update(connection=connection, schema=schema)
        command.upgrade(config, "head")
