"""Looking up write keys: another replica's source is known at once, and unknown keys can't wear out the database."""

import asyncio
import time
from typing import Any

from services.ingest.domain.sources import write_key_hash
from services.ingest.views import MAX_WAITING, RE_READ_INTERVAL_S, Sources
from shared.errors import LimitExceeded


class Table:
    """The table of sources as a pool would read it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.readings = 0

    async def fetch(self, query: str) -> list[dict[str, Any]]:
        self.readings += 1
        await asyncio.sleep(0)
        return list(self.rows)

    def add(self, name: str, write_key: str) -> None:
        self.rows.append({"name": name, "settings": "{}", "plan_version": 0, "keys": [write_key_hash(write_key)]})


async def name_of(sources: Sources, write_key: str) -> str | None:
    found = await sources.of_key(write_key_hash(write_key))
    return found.name if found else None


async def test_a_source_that_another_replica_registered_is_known_at_once() -> None:
    table = Table()
    sources = Sources(table, time.monotonic)
    assert await name_of(sources, "k1") is None
    table.add("shop", "k1")
    assert await name_of(sources, "k1") == "shop"


async def test_a_known_key_is_never_looked_up_again() -> None:
    table = Table()
    table.add("shop", "k1")
    sources = Sources(table, time.monotonic)
    for _ in range(100):
        assert await name_of(sources, "k1") == "shop"
    assert table.readings == 1


async def test_many_unknown_keys_share_few_readings() -> None:
    table = Table()
    sources = Sources(table, time.monotonic)
    began = time.monotonic()
    for _ in range(3):
        await asyncio.gather(*(sources.of_key(write_key_hash(f"guess {n}")) for n in range(500)))
    assert table.readings <= 1 + (time.monotonic() - began) / RE_READ_INTERVAL_S + 1


async def test_more_unknown_keys_than_may_wait_are_refused_at_once() -> None:
    sources = Sources(Table(), time.monotonic)
    guesses = (sources.of_key(write_key_hash(f"guess {n}")) for n in range(MAX_WAITING + 1))
    found = await asyncio.gather(*guesses, return_exceptions=True)
    assert [type(answer) for answer in found if answer is not None] == [LimitExceeded]
    assert await sources.of_key(write_key_hash("later")) is None
