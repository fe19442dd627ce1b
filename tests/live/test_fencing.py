"""A writer of profile that was fenced stays so, whatever it is asked: it must not take the log back from its new owner."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from services.profile.composition import Parts, ProfileSettings, compose
from services.stack.stack import Stack
from shared import bus
from shared.config import read_settings
from shared.errors import Fenced
from shared.events import customer as events
from shared.events.catalogue import Entry, encode, make_entry
from shared.events.wire import CUSTOMER_STREAM, Unit
from shared.ids import id_maker
from shared.instants import now_us
from shared.parked import Parked
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from tests.emptying import empty_log

new_id = id_maker(now_us)


@pytest.fixture
async def processes(servers: Stack) -> AsyncIterator[Callable[[], Parts]]:
    """Each call makes what a process of profile is made of, without its servers."""
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await empty_log(admin, "profile")
    await admin.close()
    settings = read_settings(ProfileSettings, servers.environment_of("profile"))
    pool = await open_pool(settings.database_url, "profile")
    vault_pool = await open_pool(settings.vault_url, "vault")
    vault = Vault(vault_pool, FileKeyring(Path(settings.keyring_file)))
    client = await bus.connect(settings.nats_url, "test")
    yield lambda: compose(settings, pool, vault, client)
    await client.close()
    await pool.close()
    await vault_pool.close()


def founded() -> Entry:
    return make_entry(events.FOUNDED, new_id(), new_id(), now_us(), events.CustomerFounded(founding_number=0))


def unit(number: int) -> bytes:
    return encode(Unit(number, {}, [founded()]))


async def test_a_fenced_profile_replays_nothing_and_the_new_owner_goes_on(servers: Stack, processes: Callable[[], Parts]) -> None:
    old, new = processes(), processes()
    await old.recorder.load()
    await old.recorder.record([(1, unit(0))])
    one = Parked(stream=CUSTOMER_STREAM, sequence=1, reason="NOT_A_UNIT", data=unit(0))
    pool = await open_pool(servers.environment_of("profile")["C360_DATABASE_URL"], "profile")
    async with pool.acquire() as connection:
        await old.parked.put(connection, [one])
    assert await new.recorder.load() == 1
    for _ in range(2):
        with pytest.raises(Fenced):
            await old.recorder.replay(one)
    with pytest.raises(Fenced):
        await old.recorder.load()
    await new.recorder.record([(2, unit(1))])
    assert len(await new.recorder.replay(one)) == 1
    assert await pool.fetchval("SELECT count(*) FROM events") == 3
    await pool.close()
