"""An empty log in a schema of its own, with the rights that a service has and no more; and customers to fill it with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
from eventsourcing.utils import get_topic
from psycopg.rows import dict_row

from shared.events import customer as events
from shared.ids import derived_id
from shared.instants import Clock, now_us
from shared.log.schema import GRANTS, TABLES
from shared.log.seam import LogEvent, PartitionRecorder
from shared.log.seam.datastore import Datastore
from shared.store.pool import open_pool
from shared.vault import DataKey

ROLE = "c360_profile"
PARTITIONS = 2

ANNA = UUID(int=0x018F0000_0000_7000_8000_000000000000)  # partition 0 of 2
BEN = UUID(int=0x018F0000_0000_7000_8000_000000000002)  # partition 0 of 2
CLARA = UUID(int=0x018F0000_0000_7000_8000_000000000001)  # partition 1 of 2
KEYS = {customer.bytes: DataKey(bytes([number]) * 32) for number, customer in enumerate((ANNA, BEN, CLARA))}
HOUR = 3600 * 1_000_000


class SeamLog:
    def __init__(self, admin_url: str, schema: str) -> None:
        self.admin_url = admin_url
        self.url = f"{admin_url}?options=-c%20role%3D{ROLE}"
        self.schema = schema
        self._datastores: list[Datastore] = []

    def recorder(self, partition: int = 0, clock: Clock = now_us) -> PartitionRecorder:
        return PartitionRecorder(self.remember(Datastore(self.url, self.schema)), partition, PARTITIONS, clock)

    def remember(self, datastore: Datastore) -> Datastore:
        """Closes it after the test."""
        self._datastores.append(datastore)
        return datastore

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            connection.execute("SELECT set_config('search_path', %s, false)", [self.schema])
            yield connection

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.connection() as connection:
            return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()

    async def pool(self) -> Any:
        """As the hot path has it."""
        return await open_pool(self.url, self.schema)

    def environment(self, partition: int = 0, partitions: int = PARTITIONS) -> dict[str, str]:
        return {
            "PERSISTENCE_MODULE": "shared.log.seam",
            "LOG_DATABASE_URL": self.url,
            "LOG_SCHEMA": self.schema,
            "LOG_PARTITION": str(partition),
            "LOG_PARTITIONS": str(partitions),
            "LOG_KEYS_TOPIC": get_topic(key_of),
        }

    def close(self) -> None:
        for datastore in self._datastores:
            datastore.close()


def key_of(stream: bytes, /) -> DataKey | None:
    return KEYS.get(stream)


@contextmanager
def empty_log(admin_url: str) -> Iterator[SeamLog]:
    log = SeamLog(admin_url, f"seam_{uuid4().hex[:12]}")
    with psycopg.connect(admin_url) as connection:
        connection.execute(f"CREATE SCHEMA {log.schema}")
        connection.execute(f"SET search_path TO {log.schema}")
        connection.execute(TABLES)
        connection.execute("ALTER TABLE events DROP CONSTRAINT events_place")  # the library's own cases have versions 0
        connection.execute(GRANTS.format(schema=log.schema, role=ROLE))
        connection.execute("INSERT INTO partition_heads (partition) SELECT generate_series(0, %s)", [PARTITIONS - 1])
    try:
        yield log
    finally:
        log.close()
        with psycopg.connect(admin_url) as connection:
            connection.execute(f"DROP SCHEMA {log.schema} CASCADE")


def founded(customer: UUID) -> LogEvent:
    return LogEvent.new(
        events.FOUNDED, customer, 1, derived_id(customer.bytes, b"1"), HOUR, events.CustomerFounded(founding_number=7)
    )


def linked(customer: UUID, version: int, email: str) -> LogEvent:
    public = events.IdentifierLinked(namespace="email", value_hash=email.encode()[::-1], cause=b"")
    return LogEvent.new(events.LINKED, customer, version, _id(customer, version), HOUR, public, events.LinkedValue(value=email))


def identified(customer: UUID, version: int, occurred_at: int, **traits: Any) -> LogEvent:
    public = events.Activity(source="web", resolved_by=b"h" * 16, received_at=occurred_at)
    personal = events.Identified(traits=traits)
    return LogEvent.new(events.IDENTIFIED, customer, version, _id(customer, version), occurred_at, public, personal)


def history(customer: UUID) -> list[LogEvent]:
    """Four events; the last of them is late."""
    return [
        founded(customer),
        linked(customer, 2, "anna@shop.example"),
        identified(customer, 3, 3 * HOUR, city="Lyon", tier="gold"),
        identified(customer, 4, 2 * HOUR, city="Paris", first_name="Anna"),
    ]


def _id(customer: UUID, version: int) -> bytes:
    return derived_id(customer.bytes, str(version).encode())
