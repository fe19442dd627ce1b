"""A customer log for profile's benchmarks, written through profile's own recorder: few customers with many events, many with few."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from services.profile.composition import ProfileSettings, compose
from services.stack.stack import Stack
from shared import bus
from shared.config import read_settings
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.wire import Unit, encode
from shared.ids import derived_id, id_maker
from shared.instants import SECOND, now_us
from shared.store.pool import open_pool
from shared.vault import DataKey, FileKeyring, Vault

TRAITS = 50
UNIT_EVENTS = 500
UNITS_AT_ONCE = 4
STEP_US = 60 * SECOND  # between two events of a customer
SEED = 11

new_id = id_maker(now_us)


@dataclass(frozen=True)
class History:
    """Streams of the customers by how many events each has; when the events happened and were recorded, in microseconds."""

    customers: dict[int, list[bytes]]
    happened: dict[int, tuple[int, int]] = field(default_factory=dict)
    recorded: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def events(self) -> int:
        return sum(length * len(streams) for length, streams in self.customers.items())


async def write_history(servers: Stack, customers: dict[int, int]) -> History:
    """`customers`: {events of each: how many customers}. No service may run on `servers`, and nothing may be in the log."""
    settings = read_settings(ProfileSettings, servers.environment_of("profile"))
    pool = await open_pool(settings.database_url, "profile")
    vault_pool = await open_pool(servers.environment_of("identity")["C360_VAULT_URL"], "vault")
    client = await bus.connect(settings.nats_url, "benchmark")
    vault = Vault(vault_pool, FileKeyring(Path(settings.keyring_file)))
    recorder = compose(settings, pool, vault, client).recorder
    history = History({length: [new_id() for _ in range(amount)] for length, amount in customers.items()})
    await recorder.load()
    for length, streams in history.customers.items():
        keys = await vault.create_keys(streams, now_us())
        now = now_us()
        history.happened[length] = now - length * STEP_US, now
        entries = _entries(keys, length, now - length * STEP_US)
        while units := [unit for _ in range(UNITS_AT_ONCE) if (unit := list(itertools.islice(entries, UNIT_EVENTS)))]:
            # As if nothing of CUSTOMER was consumed: identity's own stream of this installation begins afterwards.
            await recorder.record([(0, encode(Unit(0, {}, unit))) for unit in units])
        history.recorded[length] = now, now_us()
    await client.close()
    await asyncio.gather(pool.close(), vault_pool.close())
    return history


def _entries(keys: dict[bytes, DataKey], length: int, began: int) -> Iterator[Entry]:
    """Of all customers in turns, as events come."""
    chance = random.Random(SEED)
    for number in range(length):
        for stream, key in keys.items():
            yield _entry(stream, key, number, began + number * STEP_US, chance)


def _entry(stream: bytes, key: DataKey, number: int, at: int, chance: random.Random) -> Entry:
    """Founded, linked, then three things done to one thing said."""
    value_hash = derived_id(b"benchmark", stream)
    if number == 0:
        founded = events.CustomerFounded(founding_number=int.from_bytes(stream[-4:]))
        return make_entry(events.FOUNDED, stream, new_id(), at, founded)
    if number == 1:
        linked = events.IdentifierLinked(namespace="user_id", value_hash=value_hash, cause=new_id())
        return make_entry(events.LINKED, stream, new_id(), at, linked, events.LinkedValue(value=stream.hex()), key)
    activity = events.Activity(source=chance.choice(("web", "shop", "crm")), resolved_by=value_hash, received_at=at + SECOND)
    if number % 4 == 2:
        said = events.Identified(traits={f"trait_{chance.randrange(TRAITS)}": f"value {number}"})
        return make_entry(events.IDENTIFIED, stream, new_id(), at, activity, said, key)
    done = events.Tracked(name="Order Completed", properties={"order_id": f"o-{number}", "total": number / 7, "currency": "EUR"})
    return make_entry(events.TRACKED, stream, new_id(), at, activity, done, key)
