"""Profile: what a read costs beside a bare gRPC server, how long the past and the newest take, and how fast views are made anew.

The echo answers the same bytes to the same request, while the whole stack runs, and both are asked in turns by one load generator
that leaves them a core each. `BENCH_EVENTS=20000 make bench ONLY=profile` is a quicker look at the history.
"""

import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import msgspec
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import consent_pb2, registry_pb2
from c360.ingest.v1 import ingest_pb2
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1.profile_pb2_grpc import ProfileServiceStub
from google.protobuf.struct_pb2 import Struct

from benchmarks import grpc_echo
from benchmarks.freshness import freshness
from benchmarks.harness import Part, Result, percentile
from benchmarks.loading import Asked, load
from benchmarks.profile_history import TRAITS, History, Shape, write_history
from benchmarks.profile_rebuilds import rebuilds
from services.stack.stack import Stack
from shared.ids import to_text
from shared.instants import to_timestamp
from tests.e2e.client import DEADLINE_S, Platform, by_id, by_identifier

MOST_EVENTS = int(os.environ.get("BENCH_EVENTS", "100000"))
LIMITS_MS = {  # of a read of the past, by what there is of the customer
    Shape(1_000): 10,
    Shape(1_000, 0): 10,
    Shape(MOST_EVENTS): 50,
    Shape(MOST_EVENTS, 2): 50,
    Shape(MOST_EVENTS, 10): 50,
    Shape(MOST_EVENTS, 0): 50,
}
CUSTOMERS = {Shape(20): MOST_EVENTS // 20} | {shape: 20 if shape.events == 1_000 else 1 for shape in LIMITS_MS}
METHOD = "/c360.profile.v1.ProfileService/GetProfile"
PERSON = "fifty-traits"
PURPOSE = "benchmark"
ROUNDS = 9
LOAD_S = 1.5
P99_ROUNDS = 15  # more and shorter: one interruption of 15 ms by anything else makes the p99 of a round
P99_LOAD_S = 1.0
WARM_UP_S = 0.5
PAST_READS = 200
PAST_S = 5.0  # of reading customers' pasts in one way, at most
VISIBLE_S = 12.0
EVENTS_PER_S = 2_000


async def measure(_servers: Stack) -> list[Result]:
    """On a stack of its own: its log is written before its services start."""
    results = []
    with tempfile.TemporaryDirectory(prefix="c360-bench-") as directory:
        with Stack(directory, services=()) as servers:
            began = time.perf_counter()
            history = await write_history(servers, CUSTOMERS)
            print(f"  {history.events:,} events written in {time.perf_counter() - began:.0f} s", flush=True)
        with Stack(directory) as stack:
            for part in (_reads(stack), _past(stack, history), _visible(stack), rebuilds(stack, history)):
                async for result in part:
                    print(f"  {result.name} {result.value:.5g} {result.unit}", flush=True)
                    results.append(result)
    return results


class Served:
    """The service, and an echo of its answer, each a process of its own."""

    def __init__(self, stack: Stack, echo: "Echo", requests: dict[str, pb.GetProfileRequest]) -> None:
        first, pid = next(iter(requests.values())), stack.pid("profile")
        assert pid is not None
        self._asked = {name: Asked(stack.endpoints.profile, METHOD, request, pid) for name, request in requests.items()}
        self._asked["echo"] = Asked(echo.address, grpc_echo.METHOD, first, echo.pid)
        self.cpu_us: dict[str, list[float]] = {}

    async def calls(self, name: str) -> float:
        """Calls a second."""
        found = await load(self._asked[name], LOAD_S)
        self.cpu_us.setdefault(name, []).append(found.cpu_us)
        return found.calls_per_s

    async def p99(self, name: str, rate: float) -> float:
        """Milliseconds."""
        return (await load(self._asked[name], P99_LOAD_S, rate)).p99_ms

    async def warm_up(self) -> None:
        for asked in self._asked.values():
            await load(asked, WARM_UP_S)


async def _reads(stack: Stack) -> AsyncIterator[Result]:
    answer = await asyncio.to_thread(_fifty_traits, stack)
    requests = {
        "by_id": pb.GetProfileRequest(customer=by_id(answer.profile.customer_id), purpose=PURPOSE),
        "by_identifier": pb.GetProfileRequest(customer=by_identifier("user_id", PERSON), purpose=PURPOSE),
    }
    with _echo(answer.SerializeToString()) as echo:
        served = Served(stack, echo, requests)
        await served.warm_up()
        calls, latency = Part("calls/s", ROUNDS), Part("ms", P99_ROUNDS)
        await calls.run(**{name: (lambda name=name: served.calls(name)) for name in ("echo", *requests)})
        half = min(statistics.median(calls.samples[name]) for name in ("echo", "by_id")) / 2  # which both can answer
        await latency.run(**{f"{name}_p99": (lambda name=name: served.p99(name, half)) for name in ("echo", *requests)})
    yield Result(name="answer", value=float(answer.ByteSize()), unit="bytes")
    yield calls.result("echo")
    for name in requests:
        yield calls.result(name, "echo", at_least=0.85)
    cpu = Part("us", ROUNDS, served.cpu_us)
    yield msgspec.structs.replace(cpu.result("echo"), name="echo, CPU of a call")
    yield msgspec.structs.replace(cpu.result("by_id", "echo"), name="by_id, CPU of a call")
    yield latency.result("echo_p99")
    for name in requests:
        result = latency.result(f"{name}_p99", "echo_p99")
        result.target, result.met = "ratio <= 2", (result.ratio or 0) <= 2
        yield result


def _fifty_traits(stack: Stack) -> pb.GetProfileResponse:
    """Of somebody whose consent is asked for at every read."""
    with Platform(stack.endpoints) as platform:
        purpose = registry_pb2.Purpose(description="x", legal_basis=registry_pb2.LEGAL_BASIS_CONSENT, traits=["*"])
        definition = registry_pb2.Definition(name=PURPOSE, defined_by="bench", reason="to be measured", purpose=purpose)
        platform.registry.Define(registry_pb2.DefineRequest(request_id=PURPOSE, definition=definition), timeout=DEADLINE_S)
        identifier = Identifier(namespace="user_id", value=PERSON)
        platform.decide(identifier, PURPOSE, consent_pb2.OUTCOME_GRANTED)
        traits = Struct()
        traits.update({f"trait_{number}": f"a value of some length, the {number}th" for number in range(TRAITS)})
        event = ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=PERSON, traits=traits, message_id=PERSON)
        position = platform.record(stack.write_key(), event).position
        request = pb.GetProfileRequest(customer=CustomerRef(identifier=identifier), purpose=PURPOSE, at_least_as_fresh=[position])
        answer = platform.profile.GetProfile(request, timeout=DEADLINE_S)
    assert len(answer.profile.traits) == TRAITS
    return answer


class Echo(NamedTuple):
    address: str
    pid: int


@contextlib.contextmanager
def _echo(answer: bytes) -> Iterator[Echo]:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(answer)
        command = [sys.executable, "-m", "benchmarks.grpc_echo", file.name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as echo:
            assert echo.stdout is not None
            try:
                yield Echo(f"127.0.0.1:{echo.stdout.readline().strip()}", echo.pid)
            finally:
                echo.terminate()


async def _past(stack: Stack, history: History) -> AsyncIterator[Result]:
    """Of the first reads, which leave behind what the others go by, the longest."""
    chance = random.Random(1)
    async with grpc.aio.insecure_channel(stack.endpoints.profile) as channel:
        profiles = ProfileServiceStub(channel)
        for shape, limit_ms in LIMITS_MS.items():
            for asked in (("known_at",), ("valid_at",), ("valid_at", "known_at")):
                name = f"{_named(shape)}, {' and '.join(asked)}"
                first = await _past_reads(profiles, history, shape, asked, chance)
                yield Result(name=f"{name}, the longest of the first {len(first)}", value=max(first), unit="ms")
                yield percentile(name, await _past_reads(profiles, history, shape, asked, chance), 95, limit_ms)


async def _past_reads(profiles: Any, history: History, shape: Shape, asked: Sequence[str], chance: random.Random) -> list[float]:
    """Milliseconds of each."""
    instants = {"known_at": history.recorded[shape], "valid_at": history.happened[shape]}
    began, samples = time.perf_counter(), list[float]()
    while len(samples) < PAST_READS and time.perf_counter() < began + PAST_S:
        stream = chance.choice(history.customers[shape])
        at: Any = {name: to_timestamp(_between(chance, *instants[name])) for name in asked}
        request = pb.GetProfileRequest(customer=by_id(to_text(stream)), purpose="audit", **at)
        samples.append(await _read_ms(profiles, request))
    return samples


def _named(shape: Shape) -> str:
    events = f"{shape.events:,} events"
    if shape.systems:
        return events if shape.systems == 1 else f"{events} of {shape.systems} systems, one after the other"
    return f"{events} in no order"


def _between(chance: random.Random, first: int, last: int) -> int:
    """Not in the first tenth, before which little was there."""
    return chance.randrange(first + (last - first) // 10, last)


async def _read_ms(profiles: Any, request: pb.GetProfileRequest) -> float:
    started = time.perf_counter()
    await profiles.GetProfile(request, timeout=DEADLINE_S)
    return (time.perf_counter() - started) * 1_000


async def _visible(stack: Stack) -> AsyncIterator[Result]:
    samples = await freshness(stack, EVENTS_PER_S, VISIBLE_S)
    yield percentile("accepted to visible", samples, 95, 150)
    yield percentile("accepted to visible", samples, 99, 300)
