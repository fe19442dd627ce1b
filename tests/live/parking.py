"""Parks a message of INGEST as identity does: sealed as it came, of events that this release can't decode."""

import os
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from services.stack.stack import Stack
from shared.events.wire import INGEST_STREAM, Batch, encode
from shared.instants import now_us
from shared.parked import Parked
from shared.vault import DataKey, FileKeyring
from tests.live.erasing import Person, rows


def park_message(stack: Stack, epoch: bytes, person: Person, parked_at: int | None = None) -> bytes:
    """Under the key of an epoch, made when it has none. Its id."""
    sealed = _key(stack, epoch).seal(encode([{"kind": "praised", "who": person.user, "traits": {"email": person.email}}]), epoch)
    data = encode(Batch(epoch, 1, sealed))
    one = Parked(stream=INGEST_STREAM, sequence=int.from_bytes(os.urandom(6)), reason="UNDECODABLE", data=data)
    with psycopg.connect(make_conninfo(stack.admin_url, dbname="c360")) as admin:
        admin.execute(
            """INSERT INTO identity.parked (parked_id, stream, sequence, part, event_id, type_id, schema_version, customer, epoch,
                                            reason, data, run, parked_at)
               VALUES (%s, %s, %s, 0, '', '', 0, '', %s, %s, %s, 0, %s)""",
            [one.parked_id, one.stream, one.sequence, epoch, one.reason, one.data, parked_at or now_us()],
        )
    return one.parked_id


def is_parked(stack: Stack, parked_id: bytes) -> bool:
    return bool(rows(stack, "c360", "SELECT 1 FROM identity.parked WHERE parked_id = %s", parked_id))


def remove_parked(stack: Stack, parked_id: bytes) -> None:
    with psycopg.connect(make_conninfo(stack.admin_url, dbname="c360")) as admin:
        admin.execute("DELETE FROM identity.parked WHERE parked_id = %s", [parked_id])


def _key(stack: Stack, epoch: bytes) -> DataKey:
    keyring = FileKeyring(Path(stack.environment_of("identity")["C360_KEYRING_FILE"]))
    key_id, wrapped = keyring.wrap(os.urandom(32), epoch)
    with psycopg.connect(make_conninfo(stack.admin_url, dbname="c360_vault")) as vault:
        vault.execute(
            "INSERT INTO vault.data_keys (owner, key_id, wrapped, created_at) VALUES (%s, %s, %s, 1) ON CONFLICT DO NOTHING",
            [epoch, key_id, wrapped],
        )
    [(key_id, wrapped)] = rows(stack, "c360_vault", "SELECT key_id, wrapped FROM vault.data_keys WHERE owner = %s", epoch)
    return DataKey(keyring.unwrap(wrapped, epoch, key_id))
