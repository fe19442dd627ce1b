"""The front door: one ingest process, its broker with `sync_interval: always`, and nobody who reads the stream.

`bare` takes events as they come; `planned` validates each against a tracking plan and standardises its fields. The load
generator shares the machine, so events/s are what is left beside it; CPU figures are the processes' own.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
import uuid
from typing import Any

import grpc
import msgspec
import nats
from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc, plan_pb2, plan_pb2_grpc

from benchmarks.harness import Part, Result, at_least, at_most
from benchmarks.http_load import BATCH_EVENTS, batch
from benchmarks.loading import cpu_s
from services.stack.stack import Stack
from shared.events.wire import INGEST_STREAM

SERVICES = ("ingest",)
ROUNDS = 5
WARM_UP_S = 1.0
BATCHES_S = 5.0
YARDSTICK_BATCHES = 10_000
SINGLES_S = 10.0
UNBOUNDED = {"C360_BACKLOG_EVENTS": str(10**9), "C360_BACKLOG_AGE_S": str(10**6)}  # nobody consumes here
PLAN = {
    "events": {
        "Order Completed": {
            "properties": {
                "type": "object",
                "required": ["order_id"],
                "properties": {
                    "order_id": {"type": "string"},
                    "total": {"type": "number", "minimum": 0},
                    "currency": {"type": "string"},
                    "lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}},
                },
            }
        }
    },
    "traits": {
        "identify": {"properties": {"first_name": {"type": "string"}, "vip": {"type": "boolean"}, "email": {"type": "string"}}}
    },
    "rules": {"schema_violation": "quarantine", "unplanned_event": "flag", "coercion_failed": "flag"},
    "standardisation": {
        "match": "loose",
        "languages": ["en", "de"],
        "traits": {
            "industry": {"from": ["Business type", "Sector"], "as": "enumeration", "values": {"retail": ["Retail trade"]}},
            "country": {"from": ["Land"], "as": "country"},
            "birthday": {"from": ["dob"], "as": "date", "formats": ["%d.%m.%Y"]},
        },
        "properties": {"currency": {"from": [], "as": "currency"}},
    },
}


class Bench:
    def __init__(self, servers: Stack) -> None:
        self._servers = servers
        self._address = servers.endpoints.ingest_http.removeprefix("http://")
        self.cpu_us: dict[str, list[float]] = {}
        self._keys = {kind: self._register() for kind in ("bare", "planned")}
        self._publish_plan()

    async def batches(self, kind: str) -> float:
        """Events/s that were answered 200: durable. Notes what they cost."""
        await self._begin_anew(kind)
        before = {name: cpu_s(self._servers.pid(name) or 0) for name in ("ingest", "nats")}
        load = await self._load("batches", kind, BATCHES_S)
        for name, seconds in before.items():
            cost = (cpu_s(self._servers.pid(name) or 0) - seconds) * 1e6 / load["events"]
            self.cpu_us.setdefault(f"{name}_{kind}", []).append(cost)
        return float(load["events"]) / float(load["seconds"])

    async def yardstick(self) -> float:
        """CPU of one plain JSON decoding of an event of the load, on a machine that does nothing else."""
        return await asyncio.to_thread(_decode_s) * 1e6

    async def yardstick_under_load(self) -> float:
        """The same while the door works: by what it is dearer, so is every figure of CPU here. Caches and cores are shared."""
        load = asyncio.create_task(self._load("batches", "bare", BATCHES_S))
        seconds = await asyncio.to_thread(_decode_s)
        await load
        return seconds * 1e6

    async def singles(self, kind: str) -> float:
        """The 99th percentile in milliseconds."""
        load = await self._load("singles", kind, SINGLES_S)
        assert not load["refused"], "an idle door refused"
        p99: float = statistics.quantiles(load["latencies_ms"], n=100)[98]
        return p99

    async def _begin_anew(self, kind: str) -> None:
        """Nobody consumes here, so what is under way would grow from round to round as it never does in use."""
        client = await nats.connect(self._servers.broker_url)
        await client.jetstream().purge_stream(INGEST_STREAM)
        await client.close()
        await asyncio.to_thread(self._servers.kill, "ingest", **UNBOUNDED)
        await asyncio.to_thread(self._servers.wait_ready, "ingest")
        await self._load("batches", kind, WARM_UP_S)

    async def _load(self, what: str, kind: str, seconds: float) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.http_load", what, self._address, self._keys[kind][1], str(seconds)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        load: dict[str, Any] = json.loads(done.stdout)
        return load

    def _register(self) -> tuple[str, str]:
        """(name, write key)."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        request = ingest_pb2.RegisterSourceRequest(request_id=name, name=name)
        with grpc.insecure_channel(self._servers.endpoints.ingest) as channel:
            return name, ingest_pb2_grpc.IngestServiceStub(channel).RegisterSource(request, timeout=20).write_key

    def _publish_plan(self) -> None:
        request = plan_pb2.PublishPlanRequest(request_id="bench", source=self._keys["planned"][0], document=json.dumps(PLAN))
        with grpc.insecure_channel(self._servers.endpoints.ingest) as channel:
            plan_pb2_grpc.PlanServiceStub(channel).PublishPlan(request, timeout=20)


def _decode_s() -> float:
    """CPU seconds of this thread for an event."""
    body, started = batch(), time.thread_time()
    for _ in range(YARDSTICK_BATCHES):
        msgspec.json.decode(body)
    return (time.thread_time() - started) / (YARDSTICK_BATCHES * BATCH_EVENTS)


async def measure(servers: Stack) -> list[Result]:
    await asyncio.to_thread(servers.kill, "ingest", **UNBOUNDED)
    await asyncio.to_thread(servers.wait_ready, "ingest")
    bench = await asyncio.to_thread(Bench, servers)
    durable, single, yardstick = Part("events/s", ROUNDS), Part("ms", ROUNDS), Part("us/event", ROUNDS)
    await yardstick.run(yardstick=bench.yardstick, yardstick_under_load=bench.yardstick_under_load)
    await durable.run(bare=lambda: bench.batches("bare"), planned=lambda: bench.batches("planned"))
    await single.run(p99=lambda: bench.singles("bare"), p99_planned=lambda: bench.singles("planned"))
    return [
        at_least("durable_events_planned", durable.samples["planned"], "events/s", 25_000),
        at_least("durable_events_bare", durable.samples["bare"], "events/s", 25_000),
        at_most("cpu_of_ingest_planned", bench.cpu_us["ingest_planned"], "us/event", 20),
        at_most("cpu_of_ingest_bare", bench.cpu_us["ingest_bare"], "us/event", 20),
        at_most("cpu_of_broker", bench.cpu_us["nats_planned"] + bench.cpu_us["nats_bare"], "us/event", 10),
        at_most("p99_of_one_event_planned", single.samples["p99_planned"], "ms", 15),
        at_most("p99_of_one_event", single.samples["p99"], "ms", 15),
        yardstick.result("yardstick"),
        yardstick.result("yardstick_under_load", "yardstick"),
    ]
