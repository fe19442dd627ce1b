"""A writer of profile that was fenced stays so, whatever it is asked: it must not take the log back from its new owner."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.profile.cache import LoadingCache
from services.profile.domain import Held
from services.profile.history import History
from services.profile.record import Recorder
from services.profile.snapshots import Snapshots
from services.profile.views import Consents, Identifiers, States
from services.stack.stack import Stack
from shared.errors import Fenced
from shared.events import customer as events
from shared.events.catalogue import Entry, encode, make_entry
from shared.events.wire import CUSTOMER_STREAM, Unit
from shared.ids import id_maker
from shared.instants import now_us
from shared.log import LogReader, LogWriter
from shared.parked import Parked, ParkedTable
from shared.positions import Progress
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from tests.emptying import empty_log

PARTITIONS = 4
new_id = id_maker(now_us)


class Profile:
    """What a process of profile needs to write, without its servers."""

    def __init__(self, pool: Any, vault: Vault) -> None:
        history = History(LogReader(pool), vault, Snapshots(pool, PARTITIONS), PARTITIONS)
        states = States(pool, vault, history, PARTITIONS)
        held: LoadingCache[bytes, Held] = LoadingCache(states.load, 100)
        decisions = LoadingCache(Consents(pool, PARTITIONS).decisions, 100)
        writer, self.parked = LogWriter(pool, range(PARTITIONS), now_us), ParkedTable(pool, now_us)
        self.recorder = Recorder(writer, states, Identifiers(pool, PARTITIONS), self.parked, held, decisions, vault, Progress())


@pytest.fixture
async def pools(servers: Stack) -> AsyncIterator[tuple[Any, Vault]]:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await empty_log(admin, "profile", "parked", "states", "snapshots")
    await admin.close()
    pool = await open_pool(servers.environment_of("profile")["C360_DATABASE_URL"], "profile")
    identity = servers.environment_of("identity")
    vault_pool = await open_pool(identity["C360_VAULT_URL"], "vault")
    yield pool, Vault(vault_pool, FileKeyring(Path(identity["C360_KEYRING_FILE"])))
    await pool.close()
    await vault_pool.close()


def founded() -> Entry:
    return make_entry(events.FOUNDED, new_id(), new_id(), now_us(), events.CustomerFounded(founding_number=0))


def unit(number: int) -> bytes:
    return encode(Unit(number, {}, [founded()]))


async def test_a_fenced_profile_replays_nothing_and_the_new_owner_goes_on(pools: tuple[Any, Vault]) -> None:
    pool, vault = pools
    old, new = Profile(pool, vault), Profile(pool, vault)
    await old.recorder.load()
    await old.recorder.record([(1, unit(0))])
    one = Parked(stream=CUSTOMER_STREAM, sequence=1, reason="NOT_A_UNIT", data=unit(0))
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
