"""The vault: wrapped keys in a database of their own, and a cache of ready ones, bounded in size and in age.

A key that is gone stays gone: its owner never gets another, readers get no key and show what it sealed as redacted. Other
processes are told of a destruction at once (`shared/bus/destructions.py`); one that misses the message forgets the key when
it is KEY_AGE_S old.
"""

import os
import sys
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from typing import Any

import asyncpg

from shared.instants import DAY, SECOND
from shared.telemetry import logger
from shared.vault.envelope import KEY_BYTES, DataKey, EnvelopeBroken, LostKey, Random
from shared.vault.keyring import KeyNotHeld, Keyring
from shared.vault.remembered import RememberedKeys, Wrapped

KEY_AGE_S = 60.0  # how long at most a process that was not told goes on with a destroyed key
EPOCH_US = 3600 * SECOND  # how long one ingest epoch key is used
EPOCH_OWNER = b"ingest epoch"
EPOCHS_END = EPOCH_OWNER + b"\xff" * 4
EPOCHS_IN_USE = 5  # keys to seal with: this epoch's, the next one's, one that just ended; and of the quarantine two
QUARANTINE_US = DAY  # how long one key of the quarantine is used
QUARANTINE_KEPT_US = 90 * DAY  # how long what it seals waits: long enough to correct a plan; then nobody waits for it any more
QUARANTINE_OWNER = b"quarantine"
QUARANTINE_END = QUARANTINE_OWNER + b"\xff" * 4
PAGE_OWNERS = 10_000

log = logger("vault")


class Vault:
    """`pool` is a connection pool of the vault database; `random` makes keys; `monotonic` counts seconds."""

    def __init__(
        self, pool: Any, keyring: Keyring, random: Random = os.urandom, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._keyring = keyring
        self._random = random
        self._monotonic = monotonic
        self._remembered = RememberedKeys(keyring)
        self._epochs: OrderedDict[bytes, DataKey] = OrderedDict()
        self._destructions = 0  # a key that was loaded while one was told is used once and not kept

    @property
    def lookup_key(self) -> bytes:
        return self._keyring.lookup_key

    async def create_keys(self, owners: Collection[bytes], now: int) -> dict[bytes, DataKey]:
        """New keys for owners that never had one, durable before this returns; an owner that has one keeps it.

        An owner whose key was destroyed is absent.
        """
        if not owners:
            return {}
        destructions, asked_at = self._destructions, self._monotonic()
        fresh = {owner: self._random(KEY_BYTES) for owner in owners}
        try:
            rows = await self._store(fresh, now)
        except asyncpg.ForeignKeyViolationError:  # the key-encryption key was retired between wrapping and storing
            rows = await self._store(fresh, now)
        if destructions == self._destructions:
            self._remember({row["owner"]: DataKey(fresh[row["owner"]]) for row in rows}, rows, asked_at)
        return await self.keys(owners)

    async def _store(self, fresh: Mapping[bytes, bytes], now: int) -> Any:
        """Of the owners that had none."""
        wrapped = [self._keyring.wrap(key, owner) for owner, key in fresh.items()]
        return await self._pool.fetch(
            """INSERT INTO vault.data_keys (owner, wrapped, key_id, created_at)
               SELECT owner, wrapped, key_id, $4 FROM unnest($1::bytea[], $2::bytea[], $3::text[]) AS fresh (owner, wrapped, key_id)
               ON CONFLICT (owner) DO NOTHING RETURNING owner, wrapped, key_id""",
            list(fresh),
            [data for _, data in wrapped],
            [key_id for key_id, _ in wrapped],
            now,
        )

    async def keys(self, owners: Iterable[bytes]) -> dict[bytes, DataKey]:
        """The keys that exist; an owner whose key was destroyed is absent.

        A key that can't be unwrapped is there and opens nothing: its owner isn't erased, and the others have theirs.
        """
        wanted = set(owners)
        found = self._remembered.find(wanted, self._monotonic() - KEY_AGE_S)
        if missing := wanted - found.keys():
            found |= await self._load(missing)
        return found

    async def key(self, owner: bytes) -> DataKey | None:
        return (await self.keys([owner])).get(owner)

    async def raw_keys(self, owners: Collection[bytes]) -> dict[bytes, bytes]:
        """The keys themselves, for a bundle of evidence; services never need them. Destroyed ones are absent."""
        rows = await self._pool.fetch(
            "SELECT owner, wrapped, key_id FROM vault.data_keys WHERE owner = ANY($1::bytea[]) AND wrapped IS NOT NULL",
            list(owners),
        )
        return {row["owner"]: self._keyring.unwrap(row["wrapped"], row["owner"], row["key_id"]) for row in rows}

    async def keys_as_stored(self, owners: Iterable[bytes]) -> dict[bytes, DataKey]:
        """As `keys`, and whatever this process remembers doesn't count."""
        owners = set(owners)
        self.forget(owners)
        return await self.keys(owners)

    async def destroy(self, owners: Collection[bytes], now: int) -> int:
        """Destroys keys for ever, and returns how many there were; an owner that never had one never gets one.

        Only identity may. Tell the other processes afterwards.
        """
        rows = await self._pool.fetch(
            """INSERT INTO vault.data_keys (owner, wrapped, key_id, created_at, destroyed_at)
               SELECT owner, NULL, NULL, $2, $2 FROM unnest($1::bytea[]) AS gone (owner)
               ON CONFLICT (owner) DO UPDATE SET wrapped = NULL, key_id = NULL, destroyed_at = $2 WHERE data_keys.wrapped IS NOT NULL
               RETURNING owner""",
            list(owners),
            now,
        )
        self.forget(owners)
        return len(rows)

    async def destroyed(self, owners: Collection[bytes]) -> dict[bytes, int]:
        """{owner: when}, of those whose key is destroyed."""
        rows = await self._pool.fetch(
            "SELECT owner, destroyed_at FROM vault.data_keys WHERE owner = ANY($1::bytea[]) AND wrapped IS NULL", list(owners)
        )
        return {row["owner"]: row["destroyed_at"] for row in rows}

    async def all_destroyed(self) -> AsyncGenerator[list[bytes], None]:
        """The owners of all keys that are destroyed, also of epochs, in pages."""
        last = b""
        while rows := await self._pool.fetch(
            "SELECT owner FROM vault.data_keys WHERE wrapped IS NULL AND owner > $1 ORDER BY owner LIMIT $2", last, PAGE_OWNERS
        ):
            last = rows[-1]["owner"]
            yield [row["owner"] for row in rows]

    def forget(self, owners: Collection[bytes]) -> None:
        """They were destroyed, here or in another process."""
        self._destructions += 1
        self._remembered.forget(owners)
        for owner in owners:
            self._epochs.pop(owner, None)

    def forget_all(self) -> None:
        """A destruction may have been missed. The keys that ingest seals under are of the last hours, which nobody destroys."""
        self._destructions += 1
        self._remembered.clear()

    async def epoch_key(self, now: int) -> tuple[bytes, DataKey]:
        """The key of the ingest epoch that `now` falls into, made when it is the first to ask.

        It is kept without regard to its age: an epoch's key outlives the epoch by days, and a database that is down must
        not close the door. Raises KeyNotHeld.
        """
        return await self._key_in_use(epoch_owner(now), now)

    async def quarantine_key(self, now: int) -> tuple[bytes, DataKey]:
        """The key of the day that `now` falls into; not an epoch's, because what it seals waits longer, for people."""
        return await self._key_in_use(quarantine_owner(now), now)

    async def _key_in_use(self, owner: bytes, now: int) -> tuple[bytes, DataKey]:
        if (key := self._epochs.get(owner)) is None:
            key = (await self.create_keys([owner], now)).get(owner)
            if key is None:
                raise KeyNotHeld("the key of this epoch is destroyed, and none is made again: is the clock right?")
            if isinstance(key, LostKey):
                raise KeyNotHeld("the key of this epoch can't be unwrapped")
            self._epochs[owner] = key
            while len(self._epochs) > EPOCHS_IN_USE:
                self._epochs.popitem(last=False)
        return owner, key

    async def epochs_before(self, end: bytes) -> list[bytes]:
        """Owners of the epoch keys that still exist of epochs before `end`."""
        return await self._existing(EPOCH_OWNER, end)

    async def quarantine_days_before(self, end: bytes) -> list[bytes]:
        """Owners of the keys of the quarantine that still exist of days before `end`."""
        return await self._existing(QUARANTINE_OWNER, end)

    async def _existing(self, first: bytes, end: bytes) -> list[bytes]:
        rows = await self._pool.fetch(
            "SELECT owner FROM vault.data_keys WHERE owner >= $1 AND owner < $2 AND wrapped IS NOT NULL ORDER BY owner", first, end
        )
        return [row["owner"] for row in rows]

    async def _load(self, owners: set[bytes]) -> dict[bytes, DataKey]:
        destructions, asked_at = self._destructions, self._monotonic()
        rows = await self._pool.fetch(
            "SELECT owner, wrapped, key_id FROM vault.data_keys WHERE owner = ANY($1::bytea[]) AND wrapped IS NOT NULL",
            list(owners),
        )
        loaded = {row["owner"]: self._unwrapped(row) for row in rows}
        if destructions == self._destructions:
            self._remember(loaded, rows, asked_at)
        return loaded

    def _unwrapped(self, row: Any) -> DataKey:
        try:
            return DataKey(self._keyring.unwrap(row["wrapped"], row["owner"], row["key_id"]))
        except (KeyNotHeld, EnvelopeBroken) as error:
            log.critical("a data key can't be unwrapped", key_id=row["key_id"], error=type(error).__name__)
            return LostKey()

    def _remember(self, keys: Mapping[bytes, DataKey], rows: Any, asked_at: float) -> None:
        oldest = self._monotonic() - KEY_AGE_S
        for row in rows:
            if not isinstance(key := keys[row["owner"]], LostKey):
                stored = Wrapped(row["wrapped"], sys.intern(row["key_id"]), asked_at)
                self._remembered.remember(row["owner"], key, stored, oldest)


def quarantine_owner(instant: int) -> bytes:
    return QUARANTINE_OWNER + (instant // QUARANTINE_US).to_bytes(4)


def epoch_owner(instant: int) -> bytes:
    return EPOCH_OWNER + (instant // EPOCH_US).to_bytes(4)
