"""The vault: wrapped keys in a database of their own, and a bounded cache of ready ones.

A key that is gone stays gone: readers get no key for that owner and show what it sealed as redacted.
"""

import os
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Any

from shared.instants import SECOND
from shared.vault.envelope import KEY_BYTES, DataKey, Random
from shared.vault.keyring import Keyring

CACHED_KEYS = 50_000  # about 1 KB each
EPOCH_US = 3600 * SECOND  # how long one ingest epoch key is used


class Vault:
    """`pool` is a connection pool of the vault database; `random` makes keys and nonces."""

    def __init__(self, pool: Any, keyring: Keyring, random: Random = os.urandom) -> None:
        self._pool = pool
        self._keyring = keyring
        self._random = random
        self._ready: OrderedDict[bytes, DataKey] = OrderedDict()

    @property
    def lookup_key(self) -> bytes:
        return self._keyring.lookup_key

    async def create_keys(self, owners: Collection[bytes], now: int) -> dict[bytes, DataKey]:
        """New keys for owners that never had one, durable before this returns; an owner that has one keeps it."""
        if not owners:
            return {}
        fresh = {owner: self._random(KEY_BYTES) for owner in owners}
        rows = await self._pool.fetch(
            """INSERT INTO vault.data_keys (owner, wrapped, key_id, created_at)
               SELECT owner, wrapped, $3, $4 FROM unnest($1::bytea[], $2::bytea[]) AS fresh (owner, wrapped)
               ON CONFLICT (owner) DO NOTHING RETURNING owner""",
            list(fresh),
            [self._keyring.wrap(key, owner) for owner, key in fresh.items()],
            self._keyring.current_id,
            now,
        )
        for row in rows:
            self._remember(row["owner"], DataKey(fresh[row["owner"]], self._random))
        return await self.keys(owners)

    async def keys(self, owners: Iterable[bytes]) -> dict[bytes, DataKey]:
        """The keys that exist; an owner whose key was destroyed is absent."""
        wanted = set(owners)
        found = {owner: self._ready[owner] for owner in wanted if owner in self._ready}
        for owner in found:
            self._ready.move_to_end(owner)
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

    async def epoch_key(self, now: int) -> tuple[bytes, DataKey]:
        """The key of the ingest epoch that `now` falls into, made when it is the first to ask."""
        owner = b"ingest epoch" + (now // EPOCH_US).to_bytes(4)
        key = self._ready.get(owner) or (await self.create_keys([owner], now))[owner]
        return owner, key

    async def _load(self, owners: set[bytes]) -> dict[bytes, DataKey]:
        rows = await self._pool.fetch(
            "SELECT owner, wrapped, key_id FROM vault.data_keys WHERE owner = ANY($1::bytea[]) AND wrapped IS NOT NULL",
            list(owners),
        )
        loaded = {}
        for row in rows:
            raw = self._keyring.unwrap(row["wrapped"], row["owner"], row["key_id"])
            loaded[row["owner"]] = DataKey(raw, self._random)
            self._remember(row["owner"], loaded[row["owner"]])
        return loaded

    def _remember(self, owner: bytes, key: DataKey) -> None:
        self._ready[owner] = key
        if len(self._ready) > CACHED_KEYS:
            self._ready.popitem(last=False)
