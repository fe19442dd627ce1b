"""Brings one schema to its newest version. Runs as the owner of the tables; the services' roles own nothing."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config

ENVIRONMENT = Path(__file__).parent / "alembic"


def upgrade(url: str, schema: str, versions: Path) -> None:
    """`url` is a PostgreSQL URL of the owner, `versions` the folder of the schema's migrations. A second run changes nothing."""
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        connection.execute(sqlalchemy.text(f'SET LOCAL search_path TO "{schema}"'))
        config = Config()
        config.set_main_option("script_location", str(ENVIRONMENT))
        config.set_main_option("version_locations", str(versions))
        config.set_main_option("path_separator", "newline")
        config.attributes.update(connection=connection, schema=schema)
        command.upgrade(config, "head")
    engine.dispose()
