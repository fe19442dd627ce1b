"""How fast profile's views are made anew while it serves them: as shipped, and with computed traits and segments in force."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
from c360.profile.v1 import rules_pb2, segment_pb2
from c360.profile.v1.rules_pb2_grpc import ProfileRulesServiceStub
from c360.profile.v1.segment_pb2_grpc import SegmentServiceStub

from benchmarks.harness import Result, at_least
from benchmarks.profile_history import History
from services.profile.composition import ProfileSettings
from services.profile.making import Maker, Progressed
from services.profile.remaking import Remaker
from services.profile.tables.editions import Editions
from services.stack.stack import Stack
from shared.config import read_settings
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from tests.e2e.client import DEADLINE_S

REBUILDS = 3
LOOKS_S = 0.5
ORDER, SAID = "event.name == 'Order Completed'", "event.type == 'identify'"
TOTAL = "double(event.properties.total)"


def _of(of: str, aggregate: str, value: str = "", window: Any = "") -> dict[str, Any]:
    return {"of": of, "aggregate": aggregate} | ({"value": value} if value else {}) | ({"window": window} if window else {})


COMPUTED = {
    "orders": _of(ORDER, "count"),
    "orders_30d": _of(ORDER, "count", window="30d"),
    "orders_1d": _of(ORDER, "count", window="1d"),
    "spent": _of(ORDER, "sum", TOTAL),
    "spent_7d": _of(ORDER, "sum", TOTAL, "7d"),
    "largest": _of(ORDER, "max", TOTAL),
    "average_order": _of(ORDER, "average", TOTAL),
    "said_7d": _of(SAID, "count", window="7d"),
    "visit_orders": _of(ORDER, "count", window={"session": "30m"}),
    "order_ids": _of(ORDER, "unique_list", "event.properties.order_id"),
    "order_count": _of(ORDER, "unique_count", "event.properties.order_id"),
    "currency": _of(ORDER, "most_frequent", "event.properties.currency"),
    "last_order": _of(ORDER, "last", "event.properties.order_id"),
    "first_order": _of(ORDER, "first", "event.properties.order_id"),
    "since_order": _of(ORDER, "time_since"),
}
SEGMENTS = {
    "buyers": "computed.orders >= 1",
    "spenders": "computed.spent >= 100.0",
    "active": "computed.orders_30d >= 1",
    "today": "computed.orders_1d >= 1",
    "visiting": "computed.visit_orders >= 1",
    "lapsed": "computed.since_order > duration('168h') && computed.spent >= 100.0",
    "told": "has(traits.trait_1)",
}
BY_RULES = f"with {len(COMPUTED)} computed traits and {len(SEGMENTS)} segments"


async def rebuilds(stack: Stack, history: History) -> AsyncIterator[Result]:
    """In this process, while the service runs. Rules come into force on the way."""
    settings = read_settings(ProfileSettings, stack.environment_of("profile"))
    editions, vault_pool = await Editions.open(settings.database_url), await open_pool(settings.vault_url, "vault")
    pool = await open_pool(settings.database_url, "profile")
    vault = Vault(vault_pool, FileKeyring(Path(settings.keyring_file)))
    async for result in _of_views(editions, vault, settings.partitions, history, "rebuild"):
        yield result
    await _in_force(stack)
    async for result in _of_views(editions, vault, settings.partitions, history, f"rebuild {BY_RULES}"):
        yield result
    rates = [await _people_a_second(Remaker(pool, vault, settings.partitions, editions.number)) for _ in range(REBUILDS)]
    yield Result(name=f"memberships made anew {BY_RULES}", value=statistics.median(rates), unit="customers/s", samples=rates)
    await asyncio.gather(editions.pool.close(), pool.close(), vault_pool.close())


async def _of_views(editions: Editions, vault: Vault, partitions: int, history: History, name: str) -> AsyncIterator[Result]:
    rates, cpu_rates, stood_still = [], [], []
    for _ in range(REBUILDS):
        began, cpu, folded = time.perf_counter(), time.process_time(), 0

        async def count(progress: Progressed) -> None:
            nonlocal folded
            folded = progress.folded

        stood_still.append(1_000 * await Maker(editions, vault, partitions).make(count))
        assert folded >= history.events
        rates.append(folded / (time.perf_counter() - began))
        cpu_rates.append(folded / (time.process_time() - cpu))
    yield Result(name=f"{name}, the log stands still", value=max(stood_still), unit="ms", samples=stood_still)
    yield at_least(f"{name}, of this process's CPU", cpu_rates, "events/s", 20_000)
    yield at_least(name, rates, "events/s", 20_000)


async def _in_force(stack: Stack) -> None:
    """Until everybody was looked at by them."""
    segments = {name: {"when": when} for name, when in SEGMENTS.items()}
    document = msgspec.json.encode({"computed": COMPUTED, "segments": segments}).decode()
    asked = rules_pb2.ActivateRulesRequest(request_id="bench", document=document, reason="to be measured", activated_by="bench")
    async with grpc.aio.insecure_channel(stack.endpoints.profile) as channel:
        async for _ in ProfileRulesServiceStub(channel).ActivateRules(asked, timeout=DEADLINE_S):
            pass
        async for looked_at in _looks(SegmentServiceStub(channel)):
            if looked_at.settled:
                return


async def _looks(lists: Any) -> AsyncIterator[Any]:
    while True:
        yield await lists.ListSegments(segment_pb2.ListSegmentsRequest(purpose="audit"), timeout=DEADLINE_S)
        await asyncio.sleep(LOOKS_S)


async def _people_a_second(remaker: Remaker) -> float:
    began, looked_at = time.perf_counter(), 0

    async def count(done: int, _customers: int) -> None:
        nonlocal looked_at
        looked_at = done

    await remaker.make(count)
    return looked_at / (time.perf_counter() - began)
