"""How an ingest process learns that sources changed: it follows SOURCE, and looks into the table from time to time.

A revoked key is refused by every process as soon as SOURCE tells it, which is milliseconds after the answer. While the broker
is away nothing tells it, but then no door takes events either; what was missed is found within RELOAD_S.
"""

import asyncio
from typing import Any, Final

from nats.aio.client import Client

from services.ingest.domain.sources import PARTITION
from services.ingest.views import Sources
from shared.bus.follower import Follower
from shared.events.catalogue import Entry
from shared.events.source import KEY_REVOKED
from shared.events.wire import SOURCE_STREAM, decode_unit

RELOAD_S: Final = 5.0


async def follow_sources(client: Client, pool: Any, sources: Sources) -> None:
    """Never returns; raises when a server is down, and is to be called again then."""
    after = await pool.fetchval("SELECT next_pos FROM partition_heads WHERE partition = $1", PARTITION)
    await sources.load()
    follower = Follower(client, SOURCE_STREAM, after)
    try:
        while True:
            for message in await follower.take():
                for entry in decode_unit(message.data).entries:
                    _heed(entry, sources)
            await sources.load()
    finally:
        await follower.close()


async def reload(sources: Sources) -> None:
    """Never returns; raises when the database is down."""
    while True:
        await sources.load()
        await asyncio.sleep(RELOAD_S)


def _heed(entry: Entry, sources: Sources) -> None:
    """A revocation doesn't wait for the database; what a newer release wrote is found in the tables."""
    if entry.type_id == KEY_REVOKED.id and entry.schema_version <= KEY_REVOKED.version:
        sources.revoke(entry.public().write_key_hash)
