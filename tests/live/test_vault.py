"""The vault on a real PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.stack.stack import Stack
from shared.ids import id_maker
from shared.instants import now_us
from shared.store.pool import open_pool
from shared.vault import EnvelopeBroken, FileKeyring, Vault

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


async def test_a_destroyed_key_is_absent_and_never_made_again(servers: Stack, pool: Any, keyring: FileKeyring) -> None:
    owner = new_id()
    await Vault(pool, keyring).create_keys([owner], 1)
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360_vault")
    await admin.execute("UPDATE vault.data_keys SET wrapped = NULL, destroyed_at = 2 WHERE owner = $1", owner)
    await admin.close()
    fresh = Vault(pool, keyring)
    assert await fresh.key(owner) is None
    assert await fresh.create_keys([owner], 3) == {}


async def test_a_service_can_neither_read_nor_change_more_of_the_vault_than_it_needs(servers: Stack, pool: Any) -> None:
    for statement in ("UPDATE data_keys SET key_id = 'x'", "DELETE FROM data_keys"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
    profile = await asyncpg.connect(servers.environment_of("profile")["C360_VAULT_URL"])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await profile.execute("INSERT INTO vault.data_keys VALUES ('x', 'x', 'x', 1)")
    await profile.close()


async def test_an_ingest_epoch_has_one_key_for_all_its_processes(pool: Any, keyring: FileKeyring) -> None:
    now = now_us()
    owner, key = await Vault(pool, keyring).epoch_key(now)
    same, other = await Vault(pool, keyring).epoch_key(now)
    assert same == owner
    assert other.open(key.seal(b"batch", owner), owner) == b"batch"
