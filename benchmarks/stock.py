"""What a user would take instead: the eventsourcing library as documented, on the same PostgreSQL."""

import uuid
from urllib.parse import urlsplit

import psycopg
from eventsourcing.application import Application
from eventsourcing.cryptography import AESCipher
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import get_topic

CUSTOMER_EVENTS = 3


class Customer(Aggregate):
    @event("Registered")
    def __init__(self, name: str) -> None:
        self.traits = {"name": name}

    @event("TraitSet")
    def set_trait(self, key: str, value: str) -> None:
        self.traits[key] = value


class StockLibrary:
    """Its Postgres recorder in a database of its own; `encrypted`: with its own cipher, one key for the whole application."""

    def __init__(self, admin_url: str, database: str, encrypted: bool = False) -> None:
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{database}"')
        url = urlsplit(admin_url)
        self._app: Application[uuid.UUID] = Application(
            {
                "PERSISTENCE_MODULE": "eventsourcing.postgres",
                "POSTGRES_DBNAME": database,
                "POSTGRES_HOST": str(url.hostname),
                "POSTGRES_PORT": str(url.port),
                "POSTGRES_USER": str(url.username),
                "POSTGRES_PASSWORD": str(url.password),
            }
            | ({"CIPHER_TOPIC": get_topic(AESCipher), "CIPHER_KEY": AESCipher.create_key(32)} if encrypted else {})
        )

    def insert(self, events: int, batch: int) -> None:
        """Ready rows through the recorder alone: no mapping, no encryption, no hashes."""
        for _ in range(events // batch):
            stored = [StoredEvent(uuid.uuid4(), 1, "customer:Customer.TraitSet", b"e" * 200) for _ in range(batch)]
            self._app.recorder.insert_events(stored)

    def save(self, events: int, batch: int) -> None:
        """As an application does: aggregates trigger events, `save` maps and inserts them."""
        for _ in range(events // batch):
            self._app.save(*(self._customer(number) for number in range(batch // CUSTOMER_EVENTS)))

    def _customer(self, number: int) -> Customer:
        customer = Customer(f"customer {number}")
        for key in range(CUSTOMER_EVENTS - 1):
            customer.set_trait(f"key{key}", f"value {number}")
        return customer

    def long_aggregate(self, length: int) -> uuid.UUID:
        customer = Customer("customer")
        for number in range(length - 1):
            customer.set_trait(f"key{number % 50}", f"value {number}")
        self._app.save(customer)
        return customer.id

    def get(self, aggregate_id: uuid.UUID) -> Customer:
        found: Customer = self._app.repository.get(aggregate_id)
        return found

    def close(self) -> None:
        self._app.close()
