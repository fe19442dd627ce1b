"""Identity on a real PostgreSQL that commits durably: what a look-up, a new identifier and a split cost, and how that grows.

`BENCH_IDENTIFIERS=100000 make bench ONLY=identity` is a quicker look; the default is the million that the targets speak of.
All of them come the way events come: through the writer, in units, sealed under a key of each customer's own.
"""

import asyncio
import contextlib
import gc
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import grpc
from c360.common.v1.common_pb2 import CustomerRef
from c360.common.v1.common_pb2 import Identifier as PbIdentifier
from c360.identity.v1 import decision_pb2 as pb
from c360.identity.v1.decision_pb2_grpc import DecisionServiceStub, add_DecisionServiceServicer_to_server

from benchmarks.harness import Result
from services.identity.api.decisions import SERVICE_NAME, DecisionApi
from services.identity.app import Unifier
from services.identity.composition import IdentitySettings, compose
from services.identity.deciding import Decider
from services.identity.domain.decision import Act, Decide, Party
from services.identity.ledger import Ledger
from services.identity.tables import views
from services.stack.stack import Stack
from shared import bus
from shared.config import read_settings
from shared.events.wire import RawEvent
from shared.identifiers import hash_of, normalise
from shared.positions import Progress
from shared.rpc import RpcServer
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault

IDENTIFIERS = int(os.environ.get("BENCH_IDENTIFIERS", "1000000"))
OF_A_PERSON = 3  # user id, address, device
UNIT = 500
PARTS = 4  # after each of which memory is looked at; the caches are full after the third
SEED = 7
LOOK_UPS = 5_000
NEW_UNITS = 1_000
SPLITS = 300
READERS = 4
TABLES = ("identifiers", "sightings", "customers")
MAX_GROWTH = 1.1  # of memory, while the identifiers grow by a third and the caches are full


@dataclass
class Writer:
    """What the service is made of, in this process; nothing else runs."""

    pool: Any
    vault: Vault
    ledger: Ledger
    unifier: Unifier
    decider: Decider
    progress: Progress
    people: int = 0
    units: int = 0
    decided: list[tuple[int, int]] = field(default_factory=list)

    async def take(self, raw: Sequence[RawEvent]) -> None:
        self.units += 1
        await self.unifier.unify(raw, self.units, [])

    def newcomers(self, amount: int) -> list[RawEvent]:
        first, self.people = self.people, self.people + amount
        return [_introduction(number) for number in range(first, self.people)]

    def hash_of(self, namespace: str, value: str) -> bytes:
        return hash_of(normalise(namespace, value), self.vault.lookup_key)


async def measure(servers: Stack) -> AsyncIterator[Result]:
    async with _writer(servers) as writer:
        admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
        async for result in _grow(writer):
            yield result
        await admin.execute("VACUUM ANALYZE identity.identifiers, identity.sightings, identity.customers", timeout=900)
        async for result in _sizes(admin, writer):
            yield result
        await admin.close()
        gc.collect()
        gc.freeze()
        for part in (_look_ups, _new_units, _splits):
            async for result in part(writer):
                yield result


@contextlib.asynccontextmanager
async def _writer(servers: Stack) -> AsyncIterator[Writer]:
    settings = read_settings(IdentitySettings, servers.environment_of("identity"))
    pool = await open_pool(settings.database_url, "identity")
    vault_pool = await open_pool(settings.vault_url, "vault")
    keyring = FileKeyring(Path(settings.keyring_file))
    vault, client = Vault(vault_pool, keyring), await bus.connect(settings.nats_url, "benchmark")
    parts = compose(settings, pool, vault, keyring, client)
    await parts.unifier.load()
    yield Writer(pool, vault, parts.ledger, parts.unifier, parts.decider, parts.progress)
    await client.close()
    await asyncio.gather(pool.close(), vault_pool.close())


def _introduction(number: int, device: str = "") -> RawEvent:
    return RawEvent(
        kind="identify",
        message_id=f"message {number}{device}",
        source="web",
        user_id=f"user {number}",
        anonymous_id=device or f"device {number}",
        traits={"email": f"somebody{number}@shop.example"},
        occurred_at=1_700_000_000_000_000 + number,
        received_at=1_800_000_000_000_000,
    )


async def _grow(writer: Writer) -> AsyncIterator[Result]:
    people, used = max(IDENTIFIERS // OF_A_PERSON // UNIT // PARTS, 1) * UNIT, []
    started = time.perf_counter()
    for _ in range(PARTS):
        for _ in range(people // UNIT):
            await writer.take(writer.newcomers(UNIT))
        used.append(_resident_mb())
        share = writer.people * OF_A_PERSON
        yield Result(name=f"live memory of the writer at {share:,} identifiers", value=used[-1], unit="MB")
    rate = writer.people / (time.perf_counter() - started)
    yield Result(name="live new people, in units of 500", value=rate, unit="people/s")
    growth, whole = used[-1] / used[-2], IDENTIFIERS >= 1_000_000
    target = {"target": f"<= {MAX_GROWTH}", "met": growth <= MAX_GROWTH} if whole else {}
    yield Result(name="live memory, last quarter against the one before", value=growth, unit="", **target)  # type: ignore[arg-type]


def _resident_mb() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def _sizes(admin: Any, writer: Writer) -> AsyncIterator[Result]:
    """Bytes for each identifier: what ten million would take is ten times that."""
    held = await admin.fetchval("SELECT count(*) FROM identity.identifiers", timeout=900)
    yield Result(name="live identifiers", value=held, unit="")
    for table in TABLES:
        sizes = "SELECT pg_table_size($1::text::regclass), pg_indexes_size($1::text::regclass)"
        rows, index = await admin.fetchrow(sizes, f"identity.{table}")
        yield Result(name=f"live {table}, rows", value=rows / held, unit="bytes/id")
        yield Result(name=f"live {table}, indexes", value=index / held, unit="bytes/id")


async def _look_ups(writer: Writer) -> AsyncIterator[Result]:
    chance, known = random.Random(SEED), writer.people

    async def look_up() -> None:
        value = f"somebody{chance.randrange(known)}@shop.example"
        assert await views.resolve(writer.pool, writer.hash_of("email", value)) is not None

    yield _p99("live known_look_up", await _timed(look_up, LOOK_UPS), 1)
    async with writer.ledger.turn():  # nobody else can write
        yield _p99("live known_look_up while the writer is taken", await _timed(look_up, LOOK_UPS), 1)
    writing = asyncio.create_task(_keep_writing(writer))
    readers = [_timed(look_up, LOOK_UPS // READERS) for _ in range(READERS)]
    started = time.perf_counter()
    samples = [one for found in await asyncio.gather(*readers) for one in found]
    rate = len(samples) / (time.perf_counter() - started)
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing
    await writer.unifier.load()
    yield _p99(f"live known_look_up, {READERS} readers, units of {UNIT} new people meanwhile", samples)
    yield Result(name="live known_look_ups meanwhile", value=rate, unit="/s")


async def _keep_writing(writer: Writer) -> None:
    while True:
        await asyncio.shield(writer.take(writer.newcomers(UNIT)))


async def _new_units(writer: Writer) -> AsyncIterator[Result]:
    """Each is committed durably before it counts: the log, the tables and what is handed over, in one transaction."""
    chance = random.Random(SEED)

    async def newcomer() -> None:
        await writer.take(writer.newcomers(1))

    async def new_device() -> None:
        await writer.take([_introduction(chance.randrange(writer.people), f"device of {writer.units}")])

    yield _p99("live new_person's unit", await _timed(newcomer, NEW_UNITS), 25)
    yield _p99("live new_identifier's unit", await _timed(new_device, NEW_UNITS), 25)


async def _splits(writer: Writer) -> AsyncIterator[Result]:
    in_process = Decisions(writer, partial(_decide, writer))
    await in_process.measure(SPLITS)
    yield _p99("live merge by hand", in_process.merges)
    yield _p99("live split by hand", in_process.splits, 50)
    server = RpcServer("127.0.0.1:0")
    api = DecisionApi(writer.pool, writer.ledger, writer.decider, writer.vault.lookup_key, writer.progress)
    server.add(add_DecisionServiceServicer_to_server, api, SERVICE_NAME)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        called = Decisions(writer, partial(_call, DecisionServiceStub(channel)))
        await called.measure(SPLITS)
    await server.stop()
    yield _p99("live split over gRPC", called.splits)


@dataclass
class Decisions:
    """Two people at a time are merged, and split again."""

    writer: Writer
    decide: Callable[[Act, int, int, str], Awaitable[object]]
    merges: list[float] = field(default_factory=list)
    splits: list[float] = field(default_factory=list)

    async def measure(self, times: int) -> None:
        chance = random.Random(SEED + len(self.writer.decided))
        for _ in range(times):
            one, other = chance.sample(range(self.writer.people), 2)
            self.writer.decided.append((one, other))
            request_id = f"{len(self.writer.decided)}"
            self.merges += await _timed(partial(self.decide, "merge", one, other, f"merge {request_id}"), 1)
            self.splits += await _timed(partial(self.decide, "split", one, other, f"split {request_id}"), 1)


async def _decide(writer: Writer, act: Act, one: int, other: int, request_id: str) -> None:
    parties = [Party(value_hash=writer.hash_of("user_id", f"user {number}")) for number in (one, other)]
    command = Decide(request_id=request_id, act=act, one=parties[0], other=parties[1], decided_by="bench", reason="measured")
    await writer.decider.decide(command)


async def _call(stub: Any, act: Act, one: int, other: int, request_id: str) -> None:
    ends = [CustomerRef(identifier=PbIdentifier(namespace="user_id", value=f"user {number}")) for number in (one, other)]
    said: Any = {"request_id": request_id, "customer": ends[0], "other": ends[1], "decided_by": "bench", "reason": "measured"}
    if act == "merge":
        await stub.MergeCustomers(pb.MergeCustomersRequest(**said))
    else:
        await stub.SplitCustomer(pb.SplitCustomerRequest(**said))


async def _timed(work: Callable[[], Awaitable[object]], times: int) -> list[float]:
    """Milliseconds of each."""
    samples = []
    for _ in range(times):
        started = time.perf_counter()
        await work()
        samples.append((time.perf_counter() - started) * 1_000)
    return samples


def _p99(name: str, samples: list[float], limit_ms: float | None = None) -> Result:
    value = statistics.quantiles(samples, n=100)[98]
    spread = [min(samples), statistics.median(samples), max(samples)]
    if limit_ms is None:
        return Result(name=f"{name} p99", value=value, unit="ms", samples=spread)
    return Result(name=f"{name} p99", value=value, unit="ms", target=f"<= {limit_ms:g} ms", met=value <= limit_ms, samples=spread)
