"""Whose an identifier is, as the view has it, from memory where it can be."""

from collections.abc import Collection

from services.profile.cache import LoadingCache
from services.profile.tables.identifiers import Identifiers


class Owners:
    """`drop` what a unit links or unlinks, once it is committed."""

    def __init__(self, identifiers: Identifiers, most: int) -> None:
        self.ever = identifiers.ever
        self.cache = LoadingCache(identifiers.customers_of, most, name="owners")
        self.drop = self.cache.drop
        self.clear = self.cache.clear

    async def customer_of(self, value_hash: bytes) -> bytes | None:
        return (await self.cache.get([value_hash])).get(value_hash)

    async def customers_of(self, hashes: Collection[bytes]) -> dict[bytes, bytes]:
        """{identifier hash: customer}; hashes that nobody has are absent."""
        return await self.cache.get(hashes)
