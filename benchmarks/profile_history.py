"""A customer log for profile's benchmarks, written through profile's own recorder: few customers with many events, many with few; of some
they come as they happen, of others a system's after another's, or in no order."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

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


class Shape(NamedTuple):
    """So many events of a customer, of so many systems whose histories came one after the other; 0: in no order."""

    events: int
    systems: int = 1


@dataclass(frozen=True)
class History:
    """Streams of the customers by the shape of what each has; when the events happened and were recorded, in microseconds."""

    customers: dict[Shape, list[bytes]]
    happened: dict[Shape, tuple[int, int]] = field(default_factory=dict)
    recorded: dict[Shape, tuple[int, int]] = field(default_factory=dict)

    @property
    def events(self) -> int:
        return sum(shape.events * len(streams) for shape, streams in self.customers.items())


async def write_history(servers: Stack, customers: dict[Shape, int]) -> History:
    """`customers`: {what each has: how many customers}. No service may run on `servers`, and nothing may be in the log."""
    settings = read_settings(ProfileSettings, servers.environment_of("profile"))
    pool = await open_pool(settings.database_url, "profile")
    vault_pool = await open_pool(servers.environment_of("identity")["C360_VAULT_URL"], "vault")
    client = await bus.connect(settings.nats_url, "benchmark")
    vault = Vault(vault_pool, FileKeyring(Path(settings.keyring_file)))
    recorder = compose(settings, pool, vault, client).recorder
    history = History({shape: [new_id() for _ in range(amount)] for shape, amount in customers.items()})
    await recorder.load()
    for shape, streams in history.customers.items():
        keys = await vault.create_keys(streams, now_us())
        now = now_us()
        began = now - shape.events * STEP_US
        history.happened[shape] = began, now
        entries = _entries(keys, shape, began)
        while units := [unit for _ in range(UNITS_AT_ONCE) if (unit := list(itertools.islice(entries, UNIT_EVENTS)))]:
            # As if nothing of CUSTOMER was consumed: identity's own stream of this installation begins afterwards.
            await recorder.record([(0, encode(Unit(0, {}, unit))) for unit in units])
        history.recorded[shape] = now, now_us()
    await client.close()
    await asyncio.gather(pool.close(), vault_pool.close())
    return history


def _entries(keys: dict[bytes, DataKey], shape: Shape, began: int) -> Iterator[Entry]:
    """Of all customers in turns, as events come."""
    chance = random.Random(SEED)
    for number in _arrivals(shape):
        for stream, key in keys.items():
            yield _entry(stream, key, number, began + number * STEP_US, chance)


def _arrivals(shape: Shape) -> list[int]:
    """Their numbers in the order in which they happened: the founding and the link come first."""
    happened = range(2, shape.events)
    if shape.systems:
        return [0, 1, *(number for system in range(shape.systems) for number in happened[system :: shape.systems])]
    return [0, 1, *random.Random(SEED).sample(happened, len(happened))]


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
