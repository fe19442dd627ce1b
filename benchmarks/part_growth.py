"""What an event and a read cost as the customers become more, and as one customer's events do: CPU of all processes together.

Run by name: `make bench ONLY=growth` fills a stack with a million customers, and ten of them with 100,000 events each.
`BENCH_CUSTOMERS=10000 BENCH_EVENTS=1000` is a short one. The traffic measured is the same at each size: of 100 events ten
are of people nobody has seen. A customer's own events are measured with as many customers a batch, a batch at a time.
"""

import asyncio
import itertools
import json
import os
import random
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path

import grpc
from c360.common.v1.common_pb2 import Position
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1.profile_pb2_grpc import ProfileServiceStub

from benchmarks.drawing import Axes, Drawing
from benchmarks.harness import Result
from benchmarks.http_load import Connection
from benchmarks.loading import cpu_s, memory_mb
from services.stack import ports
from services.stack.stack import Stack
from tests.e2e.client import Platform, by_identifier

SERVICES = ports.SERVICES
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "1000000"))
EVENTS = int(os.environ.get("BENCH_EVENTS", "100000"))
SIZES = (CUSTOMERS // 100, CUSTOMERS // 10, CUSTOMERS)
DEPTHS = (EVENTS // 10_000 or 1, EVENTS // 100, EVENTS)
ROUNDS = 3
BATCH, NEW_OF_BATCH, BATCHES = 100, 10, 100
DEEP, DEEP_BATCHES, GROUPS = 10, 40, 40  # customers a group, batches a round, and groups that take turns where events are few
READS, READS_AT_ONCE = 2_000, 16
SENDERS, PAUSE_S = 8, 0.05
FLAT = 1.5
VISIBLE_S = 600.0
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "growth.svg"
NAMES = ("an event, by customers", "a read, by customers", "an event, by a customer's events", "a read, by a customer's events")

Cost = Callable[[], Awaitable[float]]


class Shop:
    """Whoever has a number has said something."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._random = stack, random.Random(1)
        self._key = stack.write_key()
        self._messages = itertools.count()
        self.known = 0

    def grow(self, customers: int) -> Iterator[list[str]]:
        while self.known < customers:
            yield [self._new() for _ in range(min(BATCH, customers - self.known))]

    def traffic(self) -> list[list[str]]:
        old = [[f"customer-{self._random.randrange(self.known)}" for _ in range(BATCH - NEW_OF_BATCH)] for _ in range(BATCHES)]
        return [users + [self._new() for _ in range(NEW_OF_BATCH)] for users in old]

    def _new(self) -> str:
        self.known += 1
        return f"customer-{self.known - 1}"

    def someone(self) -> str:
        return f"customer-{self._random.randrange(self.known)}"

    async def send(self, batches: Iterable[Sequence[str]]) -> None:
        """As fast as they are taken, until a read shows them."""
        rest, lock = iter(batches), threading.Lock()

        def work() -> None:
            with Connection(self._stack.endpoints.ingest_http.removeprefix("http://"), self._key) as connection:
                while True:
                    with lock:
                        users = next(rest, None)
                    if users is None:
                        return
                    body = self._body(users)
                    while connection.post(b"/v1/batch", body) != 200:
                        time.sleep(PAUSE_S)

        await asyncio.gather(*(asyncio.to_thread(work) for _ in range(SENDERS)))
        await self._visible()

    def _body(self, users: Sequence[str]) -> bytes:
        content = {"path": "/product/7", "title": "A product"}
        events = [
            {"type": "page", "messageId": f"m-{next(self._messages)}", "userId": user, "name": "Product", "properties": content}
            for user in users
        ]
        return json.dumps({"batch": events}).encode()

    async def _visible(self) -> None:
        with Platform(self._stack.endpoints) as platform:
            position = await asyncio.to_thread(platform.newest_position, self._key)
        async with grpc.aio.insecure_channel(self._stack.endpoints.profile) as channel:
            request = _reading("nobody", position)
            try:
                await ProfileServiceStub(channel).GetProfile(request, timeout=VISIBLE_S)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise

    async def event_us(self, rounds: Sequence[Sequence[Sequence[str]]]) -> float:
        """Of each round's batches, those of which are sent together."""
        before, events = self._cpu_s(), 0
        for batches in rounds:
            await self.send(batches)
            events += sum(map(len, batches))
        return (self._cpu_s() - before) * 1e6 / events

    async def read_us(self, users: Sequence[str]) -> float:
        async with grpc.aio.insecure_channel(self._stack.endpoints.profile) as channel:
            profiles, rest = ProfileServiceStub(channel), iter(users)

            async def work() -> None:
                for user in rest:
                    await profiles.GetProfile(_reading(user), timeout=VISIBLE_S)

            before = self._cpu_s()
            await asyncio.gather(*(work() for _ in range(READS_AT_ONCE)))
            return (self._cpu_s() - before) * 1e6 / len(users)

    def _cpu_s(self) -> float:
        return sum(cpu_s(self._stack.pid(name) or 0, with_children=True) for name in self._stack.names)


def _reading(user: str, *positions: Position) -> pb.GetProfileRequest:
    return pb.GetProfileRequest(customer=by_identifier("user_id", user), purpose="audit", at_least_as_fresh=positions)


async def measure(stack: Stack) -> list[Result]:
    shop = Shop(stack)
    costs: dict[str, dict[int, list[float]]] = {name: {} for name in NAMES}
    of_event, of_read, of_deep_event, of_deep_read = (costs[name] for name in NAMES)
    memory = []
    for size in SIZES:
        await shop.send(shop.grow(size))
        of_event[size] = await _rounds(lambda: shop.event_us([shop.traffic()]))
        of_read[size] = await _rounds(lambda: shop.read_us([shop.someone() for _ in range(READS)]))
        memory = [_megabytes(stack, name, size) for name in stack.services]
        print(f"  {size:,} customers: an event {_told(of_event[size])}, a read {_told(of_read[size])}", flush=True)
    for depth in DEPTHS:
        groups = [[f"{depth}-{number}-{one}" for one in range(DEEP)] for number in range(GROUPS if depth == DEPTHS[0] else 1)]
        await shop.send(group * (BATCH // DEEP) for group in groups for _ in range(-(-depth // (BATCH // DEEP))))
        batches = [[group * (BATCH // DEEP)] for group in itertools.islice(itertools.cycle(groups), DEEP_BATCHES)]
        of_deep_event[depth] = await _rounds(lambda rounds=batches: shop.event_us(rounds))  # type: ignore[misc]
        readers = [user for group in groups for user in group] * (READS // DEEP // len(groups))
        of_deep_read[depth] = await _rounds(lambda users=readers: shop.read_us(users))  # type: ignore[misc]
        print(f"  {depth:,} events each: an event {_told(of_deep_event[depth])}, a read {_told(of_deep_read[depth])}", flush=True)
    return [*(result for name in NAMES for result in _flat(name, costs[name])), *memory]


async def _rounds(cost: Cost) -> list[float]:
    await cost()  # what is new to caches
    return [await cost() for _ in range(ROUNDS)]


def _flat(name: str, costs: dict[int, list[float]]) -> Iterator[Result]:
    (least, first), *more = ((size, statistics.median(samples)) for size, samples in costs.items())
    yield Result(name=f"{name}: {least:,}", value=first, unit="us", samples=costs[least])
    for size, value in more:
        ratio = value / first
        yield Result(
            name=f"{name}: {size:,}",
            value=value,
            unit="us",
            baseline=f"at {least:,}",
            ratio=ratio,
            target=f"ratio <= {FLAT}",
            met=ratio <= FLAT,
            samples=costs[size],
        )


def _megabytes(stack: Stack, name: str, size: int) -> Result:
    value = memory_mb(stack.pid(name) or 0)
    return Result(name=f"memory of {name}, {size:,} customers", value=value, unit="MB", target="<= 500 MB", met=value <= 500)


def _told(samples: Sequence[float]) -> str:
    return f"{statistics.median(samples):.0f} us"


def publish(results: Sequence[Result]) -> None:
    """The picture: how many times what it was at first each costs."""
    drawing = Drawing(720, 340, "What an event and a read cost as they become more", "in times of the first; at most 1.5 is wanted")
    axes = Axes(drawing, (0, len(SIZES) - 1), (0, 2))
    ticks = ("first", "a tenth", "all") if len(SIZES) == 3 else tuple(map(str, SIZES))
    axes.frame(dict(enumerate(ticks)), {0: "0", 0.5: "0.5", 1: "1", 1.5: "1.5", 2: "2"}, "of all", "times")
    for colour, name in enumerate(NAMES):
        ratios = [1.0 if r.ratio is None else r.ratio for r in results if r.name.startswith(f"{name}:")]
        drawing.curve([axes.at(place, min(ratio, 2.0)) for place, ratio in enumerate(ratios)], colour)
    drawing.legend(dict(enumerate(NAMES)), 64, 58)
    PICTURE.write_text(drawing.svg())
