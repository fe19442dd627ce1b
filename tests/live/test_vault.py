"""The vault on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.stack.stack import Stack
from shared import bus, identifiers
from shared.bus import destructions
from shared.ids import id_maker
from shared.instants import now_us
from shared.store.pool import open_pool
from shared.vault import KEY_AGE_S, EnvelopeBroken, FileKeyring, KeyNotHeld, Vault
from shared.vault.remembered import RememberedKeys
from shared.vault.vault import EPOCH_US
from shared.waiting import end

new_id = id_maker(now_us)


@pytest.fixture
async def pool(servers: Stack) -> AsyncIterator[Any]:
    pool = await open_pool(servers.environment_of("identity")["C360_VAULT_URL"], "vault")
    yield pool
    await pool.close()


@pytest.fixture
def keyring(servers: Stack) -> FileKeyring:
    return FileKeyring(Path(servers.environment_of("identity")["C360_KEYRING_FILE"]))


async def test_what_one_process_seals_another_opens(pool: Any, keyring: FileKeyring) -> None:
    owner = new_id()
    sealed = (await Vault(pool, keyring).create_keys([owner], 1))[owner].seal(b"Ann", b"here")
    key = await Vault(pool, keyring).key(owner)
    assert key is not None
    assert key.open(sealed, b"here") == b"Ann"


async def test_a_key_is_made_once(pool: Any, keyring: FileKeyring) -> None:
    owner = new_id()
    first = (await Vault(pool, keyring).create_keys([owner], 1))[owner]
    second = (await Vault(pool, keyring).create_keys([owner], 2))[owner]
    assert second.open(first.seal(b"Ann", b""), b"") == b"Ann"


async def test_no_plain_key_is_in_the_database_and_a_wrapped_one_opens_for_its_owner_only(pool: Any, keyring: FileKeyring) -> None:
    one, other = new_id(), new_id()
    await Vault(pool, keyring).create_keys([one, other], 1)
    wrapped = await pool.fetchval("SELECT wrapped FROM data_keys WHERE owner = $1", one)
    assert len(keyring.unwrap(wrapped, one, keyring.current_id)) == 32
    with pytest.raises(EnvelopeBroken):
        keyring.unwrap(wrapped, other, keyring.current_id)


async def test_no_more_keys_are_kept_than_there_is_room_for_and_the_others_are_read_again(pool: Any, keyring: FileKeyring) -> None:
    owners, vault = [new_id() for _ in range(12)], Vault(pool, keyring)
    vault._remembered = remembered = RememberedKeys(keyring, ready=2, wrapped=5)
    made = await vault.create_keys(owners, 1)
    assert (len(remembered._ready), len(remembered._wrapped)) == (2, 5)
    again = await vault.keys(owners)
    assert (len(remembered._ready), len(remembered._wrapped)) == (2, 5)
    assert all(again[owner].open(made[owner].seal(b"Ann", b""), b"") == b"Ann" for owner in owners)


async def test_a_key_that_is_remembered_wrapped_alone_opens_and_ages_as_a_ready_one(pool: Any, keyring: FileKeyring) -> None:
    owners, clock = [new_id() for _ in range(4)], [0.0]
    vault = Vault(pool, keyring, monotonic=lambda: clock[0])
    vault._remembered = RememberedKeys(keyring, ready=1)
    made = await vault.create_keys(owners, 1)
    await Vault(pool, keyring).destroy(owners, 2)
    again = await vault.keys(owners)
    assert all(again[owner].open(made[owner].seal(b"Ann", b""), b"") == b"Ann" for owner in owners), "nobody was asked for these"
    clock[0] = KEY_AGE_S
    assert await vault.keys(owners) == {}


async def test_a_key_whose_wrapping_is_retired_is_read_anew(pool: Any, keyring: FileKeyring) -> None:
    owner, vault = new_id(), Vault(pool, keyring)
    vault._remembered = RememberedKeys(keyring, ready=0)
    made = await vault.create_keys([owner], 1)
    vault._remembered._wrapped[owner] = vault._remembered._wrapped[owner]._replace(key_id="retired")
    assert (await vault.keys([owner]))[owner].open(made[owner].seal(b"Ann", b""), b"") == b"Ann"


async def test_a_destroyed_key_is_absent_and_never_made_again(pool: Any, keyring: FileKeyring) -> None:
    owner, never_had_one, vault = new_id(), new_id(), Vault(pool, keyring)
    await vault.create_keys([owner], 1)
    assert await vault.destroy([owner, never_had_one], 2) == 2
    assert await vault.destroy([owner], 3) == 0
    for reader in (vault, Vault(pool, keyring)):
        assert await reader.keys([owner, never_had_one]) == {}
        assert await reader.create_keys([owner, never_had_one], 4) == {}
    assert await vault.destroyed([owner, never_had_one, new_id()]) == {owner: 2, never_had_one: 2}


async def test_an_epoch_whose_key_is_destroyed_is_never_sealed_under_again(pool: Any, keyring: FileKeyring) -> None:
    vault, long_ago = Vault(pool, keyring), 7 * EPOCH_US
    owner, _ = await vault.epoch_key(long_ago)
    await vault.destroy([owner], now_us())
    for asked in (vault, Vault(pool, keyring)):
        with pytest.raises(KeyNotHeld, match="destroyed"):
            await asked.epoch_key(long_ago)


async def test_a_process_that_missed_a_destruction_forgets_the_key_when_it_is_of_age(pool: Any, keyring: FileKeyring) -> None:
    owner, clock = new_id(), [0.0]
    missed = Vault(pool, keyring, monotonic=lambda: clock[0])
    await missed.create_keys([owner], 1)
    await Vault(pool, keyring).destroy([owner], 2)
    clock[0] = KEY_AGE_S - 1
    assert await missed.key(owner) is not None
    clock[0] = KEY_AGE_S
    assert await missed.key(owner) is None


async def test_all_processes_are_told_of_a_destruction_at_once(servers: Stack, pool: Any, keyring: FileKeyring) -> None:
    owner = new_id()
    here, there = Vault(pool, keyring), Vault(pool, keyring)
    await here.create_keys([owner], 1)
    await there.keys([owner])
    identifiers.normalise("phone", "+49 30 1234567")
    ours, theirs = await bus.connect(servers.broker_url, "here"), await bus.connect(servers.broker_url, "there")
    told: asyncio.Queue[Collection[bytes]] = asyncio.Queue()
    heeding = asyncio.create_task(destructions.heed(theirs, there, told.put_nowait))
    async with asyncio.timeout(10):
        await here.destroy([owner], 2)
        while told.empty():  # the other side may not listen yet
            await destructions.announce(ours, [owner])
            await asyncio.sleep(0)
    assert owner not in there._remembered
    assert await there.key(owner) is None
    assert identifiers._phone.cache_info().currsize == 0, "nor what an erased person was reached by"
    await end([heeding])
    await asyncio.gather(ours.close(), theirs.close())


async def test_who_was_disconnected_forgets_all_keys_and_what_was_opened_with_them(
    servers: Stack, pool: Any, keyring: FileKeyring
) -> None:
    owner, vault, opened_is_forgotten = new_id(), Vault(pool, keyring), asyncio.Event()
    await vault.create_keys([owner], 1)
    identifiers.normalise("email", "ann@example.com")
    client = await bus.connect(servers.broker_url, "away")
    heeding = asyncio.create_task(destructions.heed(client, vault, all_forgotten=opened_is_forgotten.set))
    async with asyncio.timeout(10):
        while not opened_is_forgotten.is_set():
            client.stats["reconnects"] += 1
            await asyncio.sleep(0.1)
    assert owner not in vault._remembered
    assert identifiers._email.cache_info().currsize == 0
    await end([heeding])
    await client.close()


async def test_a_key_that_was_being_loaded_when_it_was_destroyed_is_not_kept(pool: Any, keyring: FileKeyring) -> None:
    owner = new_id()
    await Vault(pool, keyring).create_keys([owner], 1)

    class Slow:
        async def fetch(self, *query: Any) -> Any:
            rows = await pool.fetch(*query)
            vault.forget([owner])
            return rows

    vault = Vault(Slow(), keyring)
    await vault.keys([owner])
    assert owner not in vault._remembered


async def test_a_destroyed_key_cannot_be_put_back_nor_a_live_one_replaced(pool: Any, keyring: FileKeyring) -> None:
    owner, other, vault = new_id(), new_id(), Vault(pool, keyring)
    await vault.create_keys([owner, other], 1)
    kept = await pool.fetchrow("SELECT wrapped, key_id FROM data_keys WHERE owner = $1", owner)
    await vault.destroy([owner], 1)
    put_back = "UPDATE data_keys SET wrapped = $2, key_id = $3, destroyed_at = NULL WHERE owner = $1"
    assert await pool.execute(put_back, owner, *kept) == "UPDATE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(put_back, other, *kept)
    assert (await vault.keys_as_stored([owner, other])).keys() == {other}


async def test_ingest_sees_the_keys_of_epochs_and_quarantine_alone(servers: Stack, pool: Any, keyring: FileKeyring) -> None:
    customer = new_id()
    await Vault(pool, keyring).create_keys([customer], 1)
    ingests = await open_pool(servers.environment_of("ingest")["C360_VAULT_URL"], "vault")
    ingest = Vault(ingests, keyring)
    owner, _ = await ingest.epoch_key(1)
    waiting, _ = await ingest.quarantine_key(1)
    assert (await ingest.raw_keys([customer, owner, waiting])).keys() == {owner, waiting}
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ingest.create_keys([new_id()], 1)
    await ingests.close()


async def test_one_key_that_cannot_be_unwrapped_takes_none_of_the_others_with_it(pool: Any, keyring: FileKeyring) -> None:
    lost, other = new_id(), new_id()
    vault, elsewhere = Vault(pool, keyring), Vault(pool, keyring)
    sealed = (await vault.create_keys([lost, other], 1))[other].seal(b"Ann", b"")

    class Forgetful:
        def unwrap(self, wrapped: bytes, owner: bytes, key_id: str) -> bytes:
            if owner == lost:
                raise KeyNotHeld(key_id)
            return keyring.unwrap(wrapped, owner, key_id)

    elsewhere._keyring = Forgetful()  # type: ignore[assignment]
    keys = await elsewhere.keys([lost, other])
    assert keys[other].open(sealed, b"") == b"Ann"
    with pytest.raises(EnvelopeBroken):  # not absent, which would mean erased
        keys[lost].open(sealed, b"")
    elsewhere._keyring = keyring
    assert (await elsewhere.keys([lost]))[lost].seal(b"Bob", b"")


async def test_a_key_that_was_destroyed_while_it_was_made_is_not_kept(pool: Any, keyring: FileKeyring) -> None:
    owner = new_id()

    class Slow:
        async def fetch(self, query: str, *arguments: Any) -> Any:
            rows = await pool.fetch(query, *arguments)
            if query.lstrip().startswith("INSERT"):
                await Vault(pool, keyring).destroy([owner], 2)
                vault.forget([owner])
            return rows

    vault = Vault(Slow(), keyring)
    assert await vault.create_keys([owner], 1) == {}
    assert owner not in vault._remembered


async def test_a_service_can_neither_read_nor_change_more_of_the_vault_than_it_needs(servers: Stack, pool: Any) -> None:
    await Vault(pool, FileKeyring(Path(servers.environment_of("identity")["C360_KEYRING_FILE"]))).create_keys([new_id()], 1)
    for statement in ("UPDATE data_keys SET key_id = 'x'", "DELETE FROM data_keys"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(servers.environment_of("consent")["C360_VAULT_URL"])
    for service in ("profile", "ingest"):
        other = await asyncpg.connect(servers.environment_of(service)["C360_VAULT_URL"])
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await other.execute("UPDATE vault.data_keys SET wrapped = NULL, destroyed_at = 1")
        await other.close()
    profile = await asyncpg.connect(servers.environment_of("profile")["C360_VAULT_URL"])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await profile.execute("INSERT INTO vault.data_keys VALUES ('x', 'x', '1', 1)")
    await profile.close()


async def test_an_ingest_epoch_has_one_key_for_all_its_processes(pool: Any, keyring: FileKeyring) -> None:
    now = now_us()
    owner, key = await Vault(pool, keyring).epoch_key(now)
    same, other = await Vault(pool, keyring).epoch_key(now)
    assert same == owner
    assert other.open(key.seal(b"batch", owner), owner) == b"batch"
