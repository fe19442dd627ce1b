"""Whatever order its units come in, and however often: profile's tables end up with the same states."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.profile.composition import Parts, ProfileSettings, compose
from services.profile.domain.state import state_hash
from services.stack.stack import Stack
from shared import bus
from shared.config import read_settings
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.wire import Unit, encode
from shared.ids import id_maker
from shared.instants import now_us
from shared.store.pool import open_pool
from shared.vault import DataKey, FileKeyring, Vault
from tests.emptying import empty_log
from tests.live.test_log import pool as pool  # noqa: PLC0414

CITIES = ("Kiel", "Bremen", "Lyon", "Turin")
UNIT_EVENTS = 4
new_id = id_maker(now_us)


@pytest.fixture
async def vault(servers: Stack) -> AsyncIterator[Vault]:
    environment = servers.environment_of("identity")
    vault_pool = await open_pool(environment["C360_VAULT_URL"], "vault")
    yield Vault(vault_pool, FileKeyring(Path(environment["C360_KEYRING_FILE"])))
    await vault_pool.close()


@pytest.fixture
async def started(servers: Stack, pool: Any, vault: Vault) -> AsyncIterator[Callable[[], Parts]]:
    """Each call makes what a process of profile is made of, without its servers."""
    settings = read_settings(ProfileSettings, servers.environment_of("profile"))
    client = await bus.connect(settings.nats_url, "test")
    yield lambda: compose(settings, pool, vault, client)
    await client.close()


def history(one: bytes, other: bytes, keys: dict[bytes, DataKey]) -> list[Entry]:
    """Two customers with traits, devices and a merge, as identity would tell of them."""
    merge = new_id()
    entries = []
    for number, (customer, second) in enumerate(((one, other), (other, one))):
        entries.append(make_entry(events.FOUNDED, customer, new_id(), 1, events.CustomerFounded(founding_number=number)))
        linked = events.IdentifierLinked(namespace="user_id", value_hash=customer, cause=merge)
        value = events.LinkedValue(value=customer.hex())
        entries.append(make_entry(events.LINKED, customer, new_id(), 2, linked, value, keys[customer]))
        for at, city in enumerate(CITIES):
            told = events.Identified(traits={"city": city, f"seen {at}": at})
            activity = events.Activity(source=f"shop {at % 2}", resolved_by=customer, received_at=50 - at)
            entries.append(make_entry(events.IDENTIFIED, customer, new_id(), 10 + at // 2, activity, told, keys[customer]))
        merged = events.CustomersMerged(merge_id=merge, other=second, other_founding_number=1 - number, cause=merge)
        entries.append(make_entry(events.MERGED, customer, new_id(), 30, merged))
    return entries


async def fed(parts: Parts, entries: Sequence[Entry]) -> dict[bytes, str]:
    """Hashes of the states in the tables after a service took these entries, unit by unit."""
    first = await parts.recorder.load() + 1
    for number, start in enumerate(range(0, len(entries), UNIT_EVENTS)):
        unit = Unit(first + number - 1, {}, list(entries[start : start + UNIT_EVENTS]))
        await parts.recorder.record([(first + number, encode(unit))])
    held = await parts.states.load({entry.stream for entry in entries})
    return {stream: state_hash(found.state) for stream, found in held.items()}


@pytest.mark.parametrize("seed", range(4))
async def test_doubled_and_shuffled_deliveries_end_in_the_same_state(
    started: Callable[[], Parts], servers: Stack, vault: Vault, seed: int
) -> None:
    choose = random.Random(seed)
    names = sorted(new_id() for _ in range(2))
    keys = await vault.create_keys(names, 1)
    entries = history(names[0], names[1], keys)
    shuffled = choose.sample([*entries, *entries], 2 * len(entries))
    parts = started()
    in_order = await fed(parts, entries)
    assert (await parts.states.load(names))[names[0]].state.traits["city"]
    await empty(servers)
    assert await fed(started(), shuffled) == in_order
    await empty(servers)


async def empty(servers: Stack) -> None:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await empty_log(admin, "profile")
    await admin.close()
