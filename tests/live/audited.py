"""A stack with some history in its logs, which tests tamper with as a superuser would and then bring back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from services.stack.stack import Stack
from tests.live.command import Command

TABLES = ("events", "partition_heads", "merkle_nodes", "checkpoints")
PEOPLE = 8


class Audited:
    """Ann is known by two devices that became one person; she has decided about marketing. Others fill the partitions."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        stack.write_key()
        self.c360 = Command(stack.data_directory)
        self.keyring = stack.environment_of("profile")["C360_KEYRING_FILE"]
        self.vault_url = stack.environment_of("profile")["C360_VAULT_URL"]
        self._tell_history()
        self.key = self.c360.run("audit", "key").stdout.strip()

    def _tell_history(self) -> None:
        for person in range(PEOPLE):
            for city in ("Lyon", "Paris", "Nice"):
                self._send("identify", "-u", f"user-{person}", "-t", f"city={city}", "-t", f"email=p{person}@example.com")
        self._send("track", "--anonymous-id", "device-of-ann", "Shoes Seen")
        self._send("identify", "-u", "ann", "-t", "first_name=Ann", "-t", "email=ann@example.com")
        self.c360.run("audit", "checkpoints")
        position = self._send("identify", "-u", "ann", "--anonymous-id", "device-of-ann", "-t", "city=Turin")
        self.c360.run("profile", "get", "user_id:ann", "--purpose", "service", "--fresh", position, "--timeout", "20")
        self.c360.json("consent", "grant", "email:ann@example.com", "marketing", "--notice", "marketing_consent@1/en")

    def _send(self, kind: str, *arguments: str) -> str:
        position: str = self.c360.json("events", kind, *arguments)["positions"][0]
        return position

    def verify(self, *arguments: str, code: int = 0) -> Any:
        return self.c360.json("audit", "verify", *arguments, code=code)

    def findings(self) -> list[tuple[str, str, int | None, int | None]]:
        found = self.verify(code=1)["findings"]
        return [(finding["partition"], finding["code"], finding["first"], finding["last"]) for finding in found]

    def bundle(self, name: str, *arguments: str) -> Path:
        path = self.folder / name
        self.c360.run("audit", "bundle", "email:ann@example.com", "-o", str(path), *arguments)
        return path

    @contextmanager
    def tampering(self, schema: str = "profile") -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """As a superuser in the service's tables; what was there is put back afterwards."""
        url = self.stack.admin_url.rsplit("/", 1)[0] + "/c360"
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            connection.execute(f"SET search_path TO {schema}")
            for table in TABLES:
                connection.execute(f"CREATE TEMPORARY TABLE saved_{table} AS TABLE {table}")
            constraints = self._drop_constraints(connection, schema)
            try:
                yield connection
            finally:
                with connection.transaction():  # the service that owns them still runs
                    for table in TABLES:
                        connection.execute(f"TRUNCATE {table}")
                        connection.execute(f"INSERT INTO {table} SELECT * FROM saved_{table}")
                for table, name, definition in constraints:
                    connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")

    def _drop_constraints(self, connection: psycopg.Connection[dict[str, Any]], schema: str) -> list[tuple[str, str, str]]:
        """They stop no superuser: (table, name, definition)."""
        found = connection.execute(
            """SELECT conrelid::regclass::text AS table, conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint
               WHERE connamespace = %s::regnamespace AND contype IN ('c', 'u') AND conrelid::regclass::text = ANY(%s)""",
            [schema, list(TABLES)],
        ).fetchall()
        for row in found:
            connection.execute(f"ALTER TABLE {row['table']} DROP CONSTRAINT {row['name']}")
        return [(row["table"], row["name"], row["definition"]) for row in found]
