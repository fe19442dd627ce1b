"""Looking up write keys: another replica's source is known at once, and unknown keys can't wear out the database."""

import asyncio
import time
from typing import Any

from services.ingest.domain.sources import write_key_hash
from services.ingest.views import MAX_WAITING, RE_READ_INTERVAL_S, Sources
from shared.errors import LimitExceeded
from shared.events.wire import RawEvent


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


class Slow(Table):
    """The first reading takes its time to arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.arrive = asyncio.Event(), asyncio.Event()
        self.document = ""

    async def fetch(self, query: str) -> list[dict[str, Any]]:
        found = await super().fetch(query)
        self.asked.set()
        if self.readings == 1:
            await self.arrive.wait()
        return found

    async def fetchval(self, query: str, *arguments: Any) -> str:
        return self.document


async def test_an_older_reading_never_brings_back_a_revoked_key() -> None:
    table = Slow()
    table.add("shop", "k1")
    sources = Sources(table, time.monotonic)
    older = asyncio.create_task(sources.load())
    await table.asked.wait()
    table.rows[0] = table.rows[0] | {"keys": []}
    sources.revoke(write_key_hash("k1"))
    newer = asyncio.create_task(sources.load())
    await asyncio.sleep(0)
    table.arrive.set()
    await older
    assert write_key_hash("k1") not in sources._by_key
    await newer
    assert write_key_hash("k1") not in sources._by_key


async def test_a_newer_reading_stays_when_an_older_one_arrives() -> None:
    table = Slow()
    table.add("shop", "k1")
    sources = Sources(table, time.monotonic)
    older = asyncio.create_task(sources.load())
    await table.asked.wait()
    table.add("crm", "k2")
    newer = asyncio.create_task(sources.load())
    await asyncio.sleep(0)
    table.arrive.set()
    await asyncio.gather(older, newer)
    assert sources.of_name("crm") is not None


async def test_a_plan_that_no_longer_compiles_holds_back_its_own_source() -> None:
    table = Slow()
    table.arrive.set()
    table.document = '{"written by": "another release"}'
    table.add("shop", "k1")
    table.add("crm", "k2")
    table.rows[0] = table.rows[0] | {"plan_version": 7}
    sources = Sources(table, time.monotonic)
    await sources.load()
    shop, crm = sources.of_name("shop"), sources.of_name("crm")
    assert shop is not None
    assert crm is not None
    assert crm.plan is None
    event = RawEvent(kind="track", message_id="m", source="shop", user_id="u", name="e", occurred_at=1, received_at=1)
    outcome = shop.plan.judge(event)
    assert (shop.plan.version, outcome.action, [found.rule for found in outcome.findings]) == (7, "quarantine", ["UNREADABLE"])
