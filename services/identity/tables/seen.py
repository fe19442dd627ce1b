"""Table `seen_messages`: the ids of all events that were ever applied or refused; what makes a repeated one have no effect.

An id is a hash of source and message id, so nothing here is personal. It outlives an erasure on purpose: an event that is
sent again afterwards must not bring back what was erased.
"""

from collections.abc import Collection
from typing import Any

from shared.sieve import POSITIONS
from shared.store.generations import Generations


class SeenMessages:
    """Belongs to the one writer; `load` whenever it has claimed the log."""

    def __init__(self, pool: Any, positions: int = POSITIONS) -> None:
        self._generations = Generations(pool, "seen_messages", "message", positions)
        self._newest = 0
        self._held = 0

    async def load(self) -> None:
        await self._generations.load()
        self._newest, self._held = self._generations.newest, self._generations.held

    async def known(self, messages: Collection[bytes]) -> set[bytes]:
        return await self._generations.known(messages)

    async def remember(self, connection: Any, messages: Collection[bytes]) -> None:
        """Part of the transaction that applies them. When that fails, `load` has to follow."""
        if self._held >= self._generations.size:
            await self._generations.finish(connection, self._newest)
            self._newest, self._held = self._newest + 1, 0
        self._generations.add(self._newest, messages)
        self._held += len(messages)
        await connection.execute(
            "INSERT INTO seen_messages (generation, message) SELECT $1::int4, unnest($2::bytea[])", self._newest, list(messages)
        )
