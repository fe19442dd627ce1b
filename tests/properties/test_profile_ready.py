"""A ready answer is what would be made at this moment, whatever changes between and during reads."""

import asyncio
from collections.abc import Collection
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.profile.cache import LoadingCache
from services.profile.reading import noted, steady_until
from services.profile.ready import OVERHEAD_BYTES, Ready, ReadyAnswers
from shared.events.consent import PurposeDefined

PURPOSE = PurposeDefined(request_id="1", name="p", version=1, description="", legal_basis="consent", traits=())
KEYS = [bytes([number]) for number in range(4)]
ROOM = 3  # answers


class World:
    """Three tables, each the next one's keys: whose an identifier is, to whom that one was merged, what is known of them."""

    def __init__(self) -> None:
        self.tables: list[dict[bytes, bytes]] = [{}, {}, {}]
        self.caches = [LoadingCache[bytes, bytes](self._loader(number), most=3) for number in range(3)]
        self.now, self.lease, self.slow = 0, True, 1
        self.ready = ReadyAnswers(lambda _ready: self.lease, lambda: self.now, ROOM * (OVERHEAD_BYTES + 500))
        for cache in self.caches:
            cache.watch(self.ready.drop)

    def _loader(self, number: int) -> Any:
        async def load(keys: Collection[bytes]) -> dict[bytes, bytes]:
            found = {key: self.tables[number][key] for key in keys if key in self.tables[number]}
            for _ in range(self.slow):
                await asyncio.sleep(0)  # what was read grows old on the way
            return found

        return load

    def now_true(self, key: bytes) -> bytes:
        for table in self.tables:
            key = table.get(key, b"")
        return key + self.now.to_bytes(2)[:1]  # the clock changes it every 256 instants

    async def read(self, request: bytes) -> None:
        since = self.ready.changes
        with noted() as reading:
            key = request
            for cache in self.caches:
                key = (await cache.get([key])).get(key, b"")
            steady_until((self.now // 256 + 1) * 256)
            answer = key + self.now.to_bytes(2)[:1]
        self.ready.keep(request, Ready(answer, PURPOSE, None, by_lease=True), reading, since)


keys = st.sampled_from(KEYS)
steps = st.one_of(
    st.tuples(st.just("read"), keys),
    st.tuples(st.just("read"), keys),
    st.tuples(st.just("go on"), st.integers(1, 5)),
    st.tuples(st.just("put"), st.tuples(st.integers(0, 2), keys, keys)),
    st.tuples(st.just("drop"), st.tuples(st.integers(0, 2), keys)),
    st.tuples(st.just("clear"), st.tuples(st.integers(0, 2), keys, keys)),
    st.tuples(st.just("time"), st.integers(1, 300)),
    st.tuples(st.just("lease"), st.booleans()),
)


@given(st.lists(steps, max_size=60), st.integers(0, 3))
def test_what_is_served_ready_is_what_would_be_made_now(steps: list[tuple[str, Any]], slow: int) -> None:
    asyncio.run(play(steps, slow))


async def play(steps: list[tuple[str, Any]], slow: int) -> None:
    world, reading = World(), list[asyncio.Task[None]]()
    world.slow = slow
    for what, given_ in steps:
        match what:
            case "read":
                reading.append(asyncio.create_task(world.read(given_)))
            case "go on":
                for _ in range(given_):
                    await asyncio.sleep(0)
            case "put":
                number, key, value = given_
                world.tables[number][key] = value
                world.caches[number].put({key: value})
            case "drop":
                number, key = given_
                world.tables[number].pop(key, None)
                world.caches[number].drop([key])
            case "clear":
                number, key, value = given_
                world.tables[number] = {key: value}
                world.caches[number].clear()
            case "time":
                world.now += given_
            case "lease":
                world.lease = given_
        for key in KEYS:
            found = world.ready.find(key)
            assert (found and found.answer) in ((None, world.now_true(key)) if world.lease else (None,))
        assert len(world.ready._held) <= ROOM
    await asyncio.gather(*reading)


async def read_twice() -> tuple[bytes | None, bytes | None]:
    world = World()
    world.tables = [{KEYS[0]: KEYS[1]}, {KEYS[1]: KEYS[2]}, {KEYS[2]: KEYS[3]}]
    await world.read(KEYS[0])
    before = world.ready.find(KEYS[0])
    world.caches[1].drop([KEYS[1]])
    after = world.ready.find(KEYS[0])
    return before.answer if before else None, after.answer if after else None


def test_what_nothing_changed_of_is_served_ready_and_what_is_not_looked_at_again_is_forgotten() -> None:
    before, after = asyncio.run(read_twice())
    assert before == KEYS[3] + b"\0"
    assert after is None
