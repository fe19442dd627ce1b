"""Makes the views of profile anew from its log: `python -m services.profile.rebuild`, with the environment of the service.

One transaction, in which the log stands still: a running service waits and then goes on. Whatever the views held before
doesn't count, except decisions and purposes, which follow from consent's log and not from ours. Start the service again
afterwards if its views were wrong: it keeps states in memory.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.progress import Progress as Bar

from services.profile.composition import ProfileSettings
from services.profile.domain.fold import evolve
from services.profile.domain.state import Held, State, linked
from services.profile.tables.erasures import mark_identifiers
from services.profile.tables.history import History
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.rulebook import RULES_STREAM, Rulebook
from services.profile.tables.snapshots import Snapshots
from services.profile.tables.states import States
from shared.config import ConfigError, read_settings
from shared.events import customer as events
from shared.ids import partition_of
from shared.log import LogReader, Record
from shared.log.records import COLUMNS, to_record
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault

STATEMENT_TIMEOUT_S = 3600.0  # emptying a large view takes minutes; hours are a lock that nobody gives back
PAGE_EVENTS = 5_000  # read ahead, and as many streams as have so many events together are written at once
VIEWS = ("states", "snapshots", "identifiers", "erased_identifiers")
Report = Callable[[int], None]  # events folded since the last report


class Rebuild:
    def __init__(self, pool: Any, vault: Vault, partitions: int) -> None:
        self._pool = pool
        self._vault = vault
        self._partitions = partitions
        reader = LogReader(pool)
        self._rulebook = Rulebook(reader, partitions)
        history = History(reader, vault, Snapshots(pool, partitions), partitions)
        self._states = States(pool, vault, history, self._rulebook, partitions)
        self._identifiers = Identifiers(pool, partitions)

    async def amount(self) -> int:
        return int(await self._pool.fetchval("SELECT sum(next_pos) FROM partition_heads"))

    async def run(self, report: Report) -> None:
        """All or nothing. Raises EnvelopeBroken when the log was altered."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT FROM partition_heads FOR UPDATE")
            await self._rulebook.load()
            for view in VIEWS:
                await connection.execute(f"DELETE FROM {view}")  # noqa: S608
            for partition in range(self._partitions):
                async for streams in _in_pages(connection, partition):
                    await self._fold(connection, streams)
                    report(sum(len(records) for records in streams))

    async def _fold(self, connection: Any, streams: list[list[Record]]) -> None:
        keys = await self._vault.keys(records[0].entry.stream for records in streams)
        held: dict[bytes, Held] = {}
        links: dict[bytes, bytes] = {}
        for records in streams:
            stream = records[0].entry.stream
            state = State()
            for record in records:
                public, personal = record.entry.parts(keys.get(stream))
                evolve(state, record.entry, public, personal, self._rulebook.rules.keeping)
                if isinstance(public, events.CustomerErased):
                    await self._mark(connection, record, public)
            links |= dict.fromkeys(linked(state), stream)
            held[stream] = Held(state, len(records), records[-1].pos)
        await self._states.apply(connection, held, keys)
        await self._identifiers.apply(connection, links, {})

    async def _mark(self, connection: Any, record: Record, public: events.CustomerErased) -> None:
        hashes = list(public.identifier_hashes)
        buckets = [partition_of(value_hash, self._partitions) for value_hash in hashes]
        await mark_identifiers(connection, hashes, buckets, record.entry.occurred_at)


async def _in_pages(connection: Any, partition: int) -> AsyncIterator[list[list[Record]]]:
    """Whole streams, some at a time; each in the order of its versions."""
    after: tuple[bytes, int] = (b"", 0)
    rest: list[Record] = []
    query = f"""SELECT {COLUMNS} FROM events WHERE partition = $1 AND (stream, version) > ($2, $3)
                ORDER BY stream, version LIMIT $4"""  # noqa: S608
    while rows := await connection.fetch(query, partition, *after, PAGE_EVENTS):
        records = rest + [to_record(row) for row in rows]
        after = (records[-1].entry.stream, records[-1].version)
        streams = [list(group) for _, group in groupby(records, key=lambda record: record.entry.stream)]
        rest = streams.pop() if len(rows) == PAGE_EVENTS else []
        if customers := [stream for stream in streams if stream[0].entry.stream != RULES_STREAM]:
            yield customers
    if rest and rest[0].entry.stream != RULES_STREAM:
        yield [rest]


async def rebuild(settings: ProfileSettings) -> None:
    pool = await open_pool(settings.database_url, "profile", STATEMENT_TIMEOUT_S)
    vault_pool = await open_pool(settings.vault_url, "vault")
    work = Rebuild(pool, Vault(vault_pool, FileKeyring(Path(settings.keyring_file))), settings.partitions)
    try:
        with Bar(transient=True) as bar:
            task = bar.add_task("folding events", total=await work.amount())
            await work.run(lambda done: bar.advance(task, done))
    finally:
        await asyncio.gather(pool.close(), vault_pool.close())


def main() -> int:
    try:
        asyncio.run(rebuild(read_settings(ProfileSettings, os.environ)))
    except ConfigError as error:
        print(f"rebuild: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
