"""The whole path: what is accepted over HTTP, until a read shows it, with every service, beside what a user would take instead.

Everything shares the machine: servers, services and whoever sends. `sustained` counts from the first event sent until the last one
is visible. `BENCH_PATH_S=60 make bench ONLY=path` makes each of its rounds that long.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import nats
from c360.common.v1.common_pb2 import Position
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1.profile_pb2_grpc import ProfileServiceStub

from benchmarks import sessions
from benchmarks.freshness import freshness
from benchmarks.harness import Part, Result, at_least, at_most, percentile, timed
from benchmarks.loading import cpu_s, memory_mb, others_share
from benchmarks.stock import StockLibrary
from services.stack import ports
from services.stack.stack import Stack
from tests.e2e.client import Platform, by_identifier

SERVICES = ports.SERVICES
SUSTAINED_S = float(os.environ.get("BENCH_PATH_S", "20"))
ROUNDS = 3
CALM_EVENTS_PER_S = 1_000
CALM_S = 10.0
FRESHNESS = {2_000: (30.0, {50: 50, 95: 150, 99: 300}), 5_000: (60.0, {95: 250, 99: 500})}  # events/s: seconds, limits in ms
VISIBLE_DEADLINE_S = 300.0
STOCK_EVENTS, STOCK_BATCH = 12_000, 300
OVERWRITTEN_BATCHES = 300
STREAM_BATCHES = 300
OVERWRITTEN = "CREATE TABLE overwritten (customer text PRIMARY KEY, profile jsonb NOT NULL) WITH (fillfactor = 70)"
OVERWRITE = """INSERT INTO overwritten SELECT * FROM unnest($1::text[], $2::jsonb[]) AS new (customer, profile)
               ON CONFLICT (customer) DO UPDATE SET profile = overwritten.profile || excluded.profile"""


class Path:
    """The stack, and its peers on the same servers."""

    def __init__(self, stack: Stack, stock: StockLibrary, plain: Any, stream: Any) -> None:
        self._stack, self._stock, self._plain, self._stream = stack, stock, plain, stream
        self._key = stack.write_key()
        self._batches = 0  # sent until now: no event is sent twice
        self.cpu_us: dict[str, list[float]] = {}
        self.others: list[float] = []

    @property
    def events(self) -> int:
        return self._batches * sessions.BATCH_EVENTS

    async def sustained(self) -> float:
        """Events/s, accepted to visible."""
        return await self._send("saturated", SUSTAINED_S)

    async def calm(self) -> float:
        return await self._send("calm", CALM_S, CALM_EVENTS_PER_S)

    async def _send(self, name: str, seconds: float, rate: float = 0) -> float:
        """Events/s. Notes the CPU that each process took for an event, and what others had of the machine."""
        before, began, share = self._cpu(), time.perf_counter(), others_share()
        command = [sys.executable, "-m", "benchmarks.sessions", self._stack.endpoints.ingest_http.removeprefix("http://")]
        command += [self._key, str(seconds), str(self._batches), *([str(rate)] if rate else [])]
        done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, check=True)
        load = json.loads(done.stdout)
        self._batches += load["batches"]
        await self._visible()
        took = time.perf_counter() - began
        for process, used in self._cpu().items():
            self.cpu_us.setdefault(f"{name}: {process}", []).append((used - before[process]) * 1e6 / load["events"])
        self.others.append(share())
        return float(load["events"]) / took

    async def _visible(self) -> None:
        """Until a read shows all that was accepted."""
        position = await asyncio.to_thread(self._newest)
        async with grpc.aio.insecure_channel(self._stack.endpoints.profile) as channel:
            nobody = by_identifier("user_id", "nobody")
            request = pb.GetProfileRequest(customer=nobody, purpose="audit", at_least_as_fresh=[position])
            until = time.perf_counter() + VISIBLE_DEADLINE_S
            while True:
                try:
                    await ProfileServiceStub(channel).GetProfile(request, timeout=VISIBLE_DEADLINE_S)
                except grpc.aio.AioRpcError as error:
                    if error.code() == grpc.StatusCode.NOT_FOUND:
                        return
                    if error.code() != grpc.StatusCode.UNAVAILABLE or time.perf_counter() > until:
                        raise

    def _newest(self) -> Position:
        with Platform(self._stack.endpoints) as platform:
            return platform.newest_position(self._key)

    def _cpu(self) -> dict[str, float]:
        return {name: cpu_s(self._stack.pid(name) or 0, with_children=True) for name in self._stack.names}

    async def stock(self) -> float:
        """Events/s that the stock library appends, three a customer; nothing else is done with them."""
        took = await timed(asyncio.to_thread(self._stock.save, STOCK_EVENTS, STOCK_BATCH))
        return STOCK_EVENTS / took

    async def overwritten(self) -> float:
        """Events/s where a profile is a row of JSON that is overwritten, in transactions of 100: no log, no identity, no consent."""
        return OVERWRITTEN_BATCHES * sessions.BATCH_EVENTS / await timed(self._overwrite())

    async def _overwrite(self) -> None:
        for number in range(OVERWRITTEN_BATCHES):
            events = json.loads(sessions.batch(number))["batch"]
            profiles = {one.get("userId", one["anonymousId"]): json.dumps({"last": one}) for one in events}
            await self._plain.execute(OVERWRITE, list(profiles), list(profiles.values()))

    async def broker(self) -> float:
        """Events/s that go through one stream of the broker and are read again, 100 a message."""
        return STREAM_BATCHES * sessions.BATCH_EVENTS / await timed(self._through())

    async def _through(self) -> None:
        subject = f"bench.{uuid.uuid4().hex}"
        await self._stream.add_stream(name=subject.replace(".", "_"), subjects=[subject])
        reader = await self._stream.pull_subscribe(subject)
        body = sessions.batch(0)
        for _ in range(STREAM_BATCHES):
            await self._stream.publish(subject, body)
        read = 0
        while read < STREAM_BATCHES:
            messages = await reader.fetch(100, timeout=10)
            read += len(messages)
            await messages[-1].ack()
        await self._stream.delete_stream(subject.replace(".", "_"))


async def measure(stack: Stack) -> list[Result]:
    results = []
    async for result in _measured(stack):
        print(f"  {result.name} {result.value:.5g} {result.unit}", flush=True)
        results.append(result)
    return results


async def _measured(stack: Stack) -> AsyncIterator[Result]:
    for name in stack.services:
        yield at_most(f"memory of {name}, idle", [memory_mb(stack.pid(name) or 0)], "MB", 120)
    stock, plain = (
        StockLibrary(stack.admin_url, "stock_path"),
        await asyncpg.connect(stack.admin_url.rsplit("/", 1)[0] + "/stock_path"),
    )
    await plain.execute(OVERWRITTEN)
    broker = await nats.connect(stack.broker_url)
    path = await asyncio.to_thread(Path, stack, stock, plain, broker.jetstream())
    for _ in range(ROUNDS):  # first: after a load PostgreSQL still tidies up behind it, at the calm events' cost
        await path.calm()
    rates = Part("events/s", ROUNDS)
    await rates.run(sustained=path.sustained, stock=path.stock, overwritten=path.overwritten, broker=path.broker)
    yield at_least("accepted to visible", rates.samples["sustained"], "events/s", 10_000)
    yield rates.result("sustained", "stock", at_least=1)
    yield rates.result("stock")
    yield rates.result("overwritten", "sustained")
    yield rates.result("broker", "sustained")
    yield Result(name="neighbours' share", value=max(path.others), unit="", samples=path.others)
    for result in _costs(path.cpu_us):
        yield result
    for rate, (seconds, limits) in FRESHNESS.items():
        samples = await freshness(stack, rate, seconds)
        for percent, limit_ms in limits.items():
            yield percentile(f"accepted to visible at {rate:,} events/s", samples, percent, limit_ms)
    for name in stack.services:
        yield Result(name=f"memory of {name} after {path.events:,} events", value=memory_mb(stack.pid(name) or 0), unit="MB")
    await asyncio.to_thread(stock.close)
    await plain.close()
    await broker.close()


def _costs(cpu_us: dict[str, list[float]]) -> list[Result]:
    """CPU microseconds an event, of each process and of all together."""
    results = []
    for name, limit in (("saturated", 110), ("calm", 250)):
        costs = {process: samples for process, samples in cpu_us.items() if process.startswith(name)}
        all_of_them = [sum(samples) for samples in zip(*costs.values(), strict=True)]
        results += [
            Result(name=f"CPU, {process}", value=samples[-1], unit="us", samples=samples) for process, samples in costs.items()
        ]
        results.append(at_most(f"CPU, {name}: all", all_of_them, "us", limit))
    return results
