"""Keys of ingest epochs are destroyed after their time, and only when nothing under them waits to be read."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from services.identity.broker import purge_consumed
from services.identity.epochs import EPOCH_KEY_AGE_US, QUARANTINE_KEY_AGE_US, Epochs
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.tables.outbox import Outbox
from services.stack.stack import Stack
from shared import bus
from shared.bus.connection import ensure_stream
from shared.events.wire import INGEST_STREAM, Batch, encode
from shared.instants import now_us
from shared.log import LogWriter
from shared.parked import ParkedTable
from shared.positions import Progress
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from shared.vault.vault import EPOCH_US, EPOCHS_END, QUARANTINE_US, epoch_owner, quarantine_owner
from tests.live.erasing import Person
from tests.live.parking import is_parked, park_message, remove_parked

NOW = now_us() - 100 * EPOCH_KEY_AGE_US  # long before the epochs that other tests use: all that is older goes
OLD = NOW - EPOCH_KEY_AGE_US


class Settled(Ledger):
    """An identity that has consumed up to a given sequence."""

    position = 0

    @property
    def consumed(self) -> int:
        return self.position


@pytest.fixture
async def client(servers: Stack) -> AsyncIterator[Client]:
    client = await bus.connect(servers.broker_url, "epochs")
    await ensure_stream(client, INGEST_STREAM, 1)
    yield client
    await client.close()


@pytest.fixture
async def vault(servers: Stack) -> AsyncIterator[Vault]:
    environment = servers.environment_of("identity")
    pool = await open_pool(environment["C360_VAULT_URL"], "vault")
    yield Vault(pool, FileKeyring(Path(environment["C360_KEYRING_FILE"])))
    await pool.close()


@pytest.fixture
async def ledger(servers: Stack) -> AsyncIterator[Settled]:
    pool = await open_pool(servers.environment_of("identity")["C360_DATABASE_URL"], "identity")
    yield Settled(pool, LogWriter(pool, [IDENTITY_PARTITION], now_us), Outbox(pool), ParkedTable(pool, now_us), Progress(), now_us)
    await pool.close()


async def left(vault: Vault, *owners: bytes) -> list[bytes]:
    existing = await vault.epochs_before(EPOCHS_END)
    return [owner for owner in owners if owner in existing]


async def test_an_old_epoch_that_is_consumed_loses_its_key_and_a_younger_one_keeps_it(
    client: Client, vault: Vault, ledger: Settled
) -> None:
    old, young = epoch_owner(OLD - EPOCH_US), epoch_owner(OLD + EPOCH_US)
    await vault.create_keys([old, young], 1)
    ledger.position = (await client.jetstream().stream_info(INGEST_STREAM)).state.last_seq
    await Epochs(client, ledger, vault, lambda: NOW).destroy_before(OLD)
    assert await left(vault, old, young) == [young]


async def test_an_epoch_that_waits_to_be_read_keeps_its_key_however_old(client: Client, vault: Vault, ledger: Settled) -> None:
    read, waiting = epoch_owner(OLD - 9 * EPOCH_US), epoch_owner(OLD - 8 * EPOCH_US)
    await vault.create_keys([read, waiting], 1)
    context: Any = client.jetstream()
    ledger.position = (await context.publish(INGEST_STREAM, encode(Batch(read, 0, b"")))).seq
    last = (await context.publish(INGEST_STREAM, encode(Batch(waiting, 0, b"")))).seq
    epochs = Epochs(client, ledger, vault, lambda: NOW)
    await epochs.destroy_before(OLD)
    assert await left(vault, read, waiting) == [waiting]
    assert await purge_consumed(client, ledger.position) > 0
    ledger.position = last
    await epochs.destroy_before(OLD)
    assert await left(vault, waiting) == []


async def test_a_day_of_the_quarantine_of_which_nothing_can_wait_any_more_loses_its_key(
    client: Client, vault: Vault, ledger: Settled
) -> None:
    over = quarantine_owner(NOW - QUARANTINE_KEY_AGE_US - QUARANTINE_US)
    waits = quarantine_owner(NOW - QUARANTINE_KEY_AGE_US)
    epochs = Epochs(client, ledger, vault, lambda: NOW)
    await epochs.destroy_quarantine_days()  # of tests whose clocks stand still, long before
    await vault.create_keys([over, waits], 1)
    assert await epochs.destroy_quarantine_days() == 1
    assert await vault.quarantine_days_before(quarantine_owner(NOW)) == [waits]
    assert await vault.destroyed([over]) == {over: NOW}
    assert await epochs.destroy_quarantine_days() == 0


async def test_what_is_parked_goes_when_the_key_it_is_sealed_under_is_gone_or_would_be(
    client: Client, vault: Vault, ledger: Settled, servers: Stack
) -> None:
    gone, young = epoch_owner(OLD - 5 * EPOCH_US), epoch_owner(OLD + 5 * EPOCH_US)
    sealed_under_nothing = park_message(servers, gone, Person(), NOW)
    of_age = park_message(servers, young, Person(), OLD - 1)
    kept = park_message(servers, young, Person(), OLD + 1)
    epochs = Epochs(client, ledger, vault, lambda: NOW)
    await epochs.remove_parked()
    assert [is_parked(servers, one) for one in (sealed_under_nothing, of_age, kept)] == [True, False, True]
    await vault.destroy([gone], NOW)
    assert await epochs.remove_parked() == 1
    assert [is_parked(servers, one) for one in (sealed_under_nothing, of_age, kept)] == [False, False, True]
    remove_parked(servers, kept)
