"""The table of sources, and the write keys in memory that every request is checked against."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from psycopg import Cursor

from shared.events.source import SourceRegistered
from shared.log import Record

# An unknown key may belong to a source that another replica has just registered, so it is looked up before it is refused;
# however many unknown keys come, the table is read at most this often.
RE_READ_INTERVAL_S: Final = 0.1


def insert_sources(cursor: Cursor[Any], records: list[Record]) -> None:
    """Part of the transaction that appends the events."""
    for record in records:
        event: SourceRegistered = record.entry.public()
        cursor.execute(
            """INSERT INTO sources (name, write_key_hash, write_key_hint, request_id, registered_at)
               VALUES (%s, %s, %s, %s, %s)""",
            [event.name, event.write_key_hash, event.write_key_hint, event.request_id, record.recorded_at],
        )


class SourceRow(msgspec.Struct, frozen=True):
    name: str
    write_key_hint: str
    registered_at: int  # microseconds


class Sources:
    """`clock` tells seconds, monotonic."""

    def __init__(self, pool: Any, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._clock = clock
        self._names: dict[bytes, str] = {}
        self._read_began = float("-inf")
        self._reading = asyncio.Lock()

    async def name_of(self, key_hash: bytes) -> str | None:
        """The source that the key belongs to."""
        name = self._names.get(key_hash)
        if name is None:
            await self._read_anew()
            name = self._names.get(key_hash)
        return name

    def remember(self, event: SourceRegistered) -> None:
        self._names[event.write_key_hash] = event.name

    async def load(self) -> None:
        rows = await self._pool.fetch("SELECT name, write_key_hash FROM sources")
        self._names = {row["write_key_hash"]: row["name"] for row in rows}

    async def all(self) -> list[SourceRow]:
        """Oldest first."""
        rows = await self._pool.fetch("SELECT name, write_key_hint, registered_at FROM sources ORDER BY registered_at, name")
        return [SourceRow(*row) for row in rows]

    async def _read_anew(self) -> None:
        """All who asked before a reading began are served by it."""
        asked = self._clock()
        async with self._reading:
            if self._read_began > asked:
                return
            await asyncio.sleep(max(0.0, self._read_began + RE_READ_INTERVAL_S - self._clock()))
            self._read_began = self._clock()
            await self.load()
