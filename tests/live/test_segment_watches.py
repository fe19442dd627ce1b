"""Who keeps a segment's profiles by what a watch tells holds those of its members whom the purpose may see, whatever moves them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import count, cycle
from typing import Any

import pytest
from c360.profile.v1 import segment_pb2 as pb
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.profile import watches
from services.stack.stack import Stack
from shared.errors import NotFound, NotPermitted
from shared.events.consent import Outcome
from shared.ids import derived_id, to_text
from shared.instants import END_OF_TIME, SECOND, now_us
from shared.waiting import end
from tests.live.inside import Inside, cut_off, erased, founded, identified, linked, merged, new_id, tracked
from tests.live.mirror import PATIENCE_S, Mirror, Watching
from tests.live.test_profile_rules import activated, command
from tests.live.test_segments import Deadline, api_of
from tests.live.test_watches import OUTCOMES, PEOPLE, World
from tests.properties.people_read import decision, purpose

RULES = """{"computed": {"recent": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "1s"}},
            "segments": {"kiel": {"when": "traits.city == 'Kiel'"}, "buyers": {"when": "computed.recent >= 1"}}}"""
OTHER_RULES = RULES.replace(
    '"kiel":', """"recent": {"when": "computed.recent >= 1"}, "valid": {"when": "traits.until > now"}, "kiel":"""
)
STORY = """{"computed": {"recent": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "1s"}},
            "segments": {"wanted": {"when": "computed.recent >= 1 || traits.city == 'Kiel'"}}}"""
POLL_S = 0.005
who = st.integers(0, PEOPLE - 1)
steps = st.one_of(
    st.tuples(st.just("identify"), who, st.sampled_from(["Kiel", "Bremen", None])),
    st.tuples(st.just("order"), who),
    st.tuples(st.just("merge"), who, who),
    st.tuples(st.just("split"), who, who),
    st.tuples(st.just("restrict"), who),
    st.tuples(st.just("erase"), who),
    st.tuples(st.just("decide"), who, st.sampled_from(OUTCOMES)),
    st.tuples(st.sampled_from(["rules", "pass", "break", "catch up"])),
)


@asynccontextmanager
async def held_up(inside: Inside) -> AsyncIterator[None]:
    """The keeper of memberships waits, as for another process."""
    async with inside.parts.keeper._pool.acquire() as connection, connection.transaction():
        await connection.fetch("SELECT FROM segment_progress FOR UPDATE")
        yield


@asynccontextmanager
async def kept(servers: Stack) -> AsyncIterator[Inside]:
    """Memberships are kept meanwhile."""
    inside = await Inside.open(servers)
    inside.confirm_consent()
    keeping = asyncio.create_task(inside.parts.keeper.run())
    try:
        yield inside
    finally:
        await end([keeping])
        await inside.close()


@pytest.fixture
async def inside(servers: Stack) -> AsyncIterator[Inside]:
    async with kept(servers) as inside:
        yield inside


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "GATHERING_S", 0.0)
    monkeypatch.setattr(watches, "RECHECK_S", 0.2)


async def holds(mirror: Mirror, *streams: bytes) -> None:
    """Soon."""
    async with asyncio.timeout(PATIENCE_S):
        while mirror.profiles.keys() != {to_text(stream) for stream in streams}:  # noqa: ASYNC110 - the mirror is what is tested
            await asyncio.sleep(POLL_S)


async def enters(mirror: Mirror, stream: bytes, again: Callable[[], Awaitable[None]]) -> None:
    """By what counts for a second; she does it again where that was over before it was looked at, as on a busy machine."""
    async with asyncio.timeout(PATIENCE_S):
        while not await _is_held(mirror, stream):
            await again()


async def _is_held(mirror: Mirror, stream: bytes) -> bool:
    """Within the second."""
    until = now_us() + SECOND
    while (held := mirror.profiles.keys() == {to_text(stream)}) is False and now_us() < until:  # noqa: ASYNC110 - as above
        await asyncio.sleep(POLL_S)
    return held


@pytest.mark.parametrize("named", [False, True])
async def test_who_watches_a_segment_is_told_who_enters_and_leaves_by_whatever(inside: Inside, named: bool) -> None:
    parts, streams = inside.parts, sorted(new_id() for _ in range(3))
    one, other, refusing = streams
    keys = await inside.keys(streams)
    wanted = purpose("consent", "*", "events", name="mirror")
    await inside.define(wanted)
    for number, stream in enumerate(streams):
        await inside.record([founded(stream, number), linked(stream, keys[stream], f"{number}@example.com")])
    decided: list[Outcome] = ["granted", "granted", "withdrawn"]
    for number, outcome in enumerate(decided):
        await inside.decide(decision(derived_id(f"{number}@example.com".encode()), outcome, 1, purpose="mirror"))
    await activated(parts, command(RULES))

    def watching(mirror: Mirror, segment: str) -> Watching:
        return Watching(inside, mirror, "mirror", streams if named else None, segment=segment)

    async def order(*of: bytes) -> None:
        await inside.record(tracked(stream, keys[stream], now_us()) for stream in of)

    kiel, buyers = Mirror(), Mirror()
    async with watching(kiel, "kiel"), watching(buyers, "buyers"):
        await inside.record(identified(stream, keys[stream], 1, city="Kiel") for stream in streams)
        await holds(kiel, one, other)
        await order(one, refusing)
        await enters(buyers, one, partial(order, one, refusing))
        await holds(buyers)  # no event came
        await inside.record([identified(one, keys[one], 2, city="Bremen")])
        await holds(kiel, other)
        await inside.record(merged(one, other))
        await holds(kiel)
        await inside.record(cut_off(one, other))
        await holds(kiel, other)
        await inside.decide(decision(derived_id(b"1@example.com"), "withdrawn", 2, purpose="mirror"))
        await holds(kiel)
        await inside.decide(decision(derived_id(b"1@example.com"), "granted", 3, purpose="mirror"))
        await holds(kiel, other)
        await activated(parts, command(RULES.replace("'Kiel'", "'Bremen'")))
        await holds(kiel, one)
        await order(other)
        await enters(buyers, other, partial(order, other))
    assert {reason for _, reason in kiel.gone} == {"NOT_IN_SEGMENT"}, "whether she left or refuses isn't told"
    if not named:
        assert to_text(refusing) not in {customer for customer, _ in kiel.gone + buyers.gone}

    async with asyncio.timeout(PATIENCE_S):
        while (await parts.memberships.sizes()).get("buyers"):  # noqa: ASYNC110 - while nobody watches
            await asyncio.sleep(POLL_S)
    async with watching(buyers, "buyers"):
        await holds(buyers)
    await inside.record([erased(one)])
    async with watching(kiel, "kiel"):
        await holds(kiel)


@pytest.mark.parametrize("named", [False, True])
async def test_who_left_is_told_once_whatever_becomes_of_her_then(inside: Inside, named: bool) -> None:
    """Merged with who isn't in the segment she leaves it; who an erasure takes apart again was told to be gone."""
    streams = sorted(new_id() for _ in range(3))
    one, other, third = streams
    keys = await inside.keys(streams)
    await inside.define(purpose("contract", "*", name="mirror"))
    await inside.record(founded(stream, number) for number, stream in enumerate(streams))
    await activated(inside.parts, command(RULES))
    cities = {one: "Bremen", other: "Kiel", third: "Hull"}
    await inside.record(identified(stream, keys[stream], 1, city=city) for stream, city in cities.items())
    mirror = Mirror()
    async with Watching(inside, mirror, "mirror", streams if named else None, segment="kiel"):
        await holds(mirror, other)
        mirror.gone.clear()
        await inside.record([*merged(one, other), identified(one, keys[one], 2, city="Bremen")])
        await holds(mirror)
        await inside.record([*cut_off(one, other), erased(one), erased(other), identified(third, keys[third], 3, city="Kiel")])
        await holds(mirror, third)  # so all before it was looked at
        await inside.record([identified(one, keys[one], 4, city="Hull"), identified(third, keys[third], 4, city="Hull")])
        await holds(mirror)
    assert [customer for customer, _ in mirror.gone if customer != to_text(third)] == [to_text(one)]


class Shop(World):
    """Whose orders count for an instant, and whose rules change."""

    def __init__(self, inside: Inside, legal_basis: Any) -> None:
        super().__init__(inside, legal_basis)
        self._cities = cycle(["Kiel", "Bremen"])

    async def play(self, step: tuple[Any, ...]) -> None:
        match step:
            case "order", number:
                stream = self.streams[number]
                await self._inside.record([tracked(stream, self._keys[stream], now_us())])
            case ("rules",):
                await activated(self._inside.parts, command(STORY.replace("Kiel", next(self._cities))))
            case ("pass",):
                await passed(SECOND)
            case _:
                await super().play(step)

    async def members(self) -> set[str]:
        """Who is listed."""
        request = pb.ListSegmentMembersRequest(segment="wanted", purpose=self.purpose)
        return {one.customer_id for one in (await api_of(self._inside).ListSegmentMembers(request, Deadline(PATIENCE_S))).members}


@settings(
    max_examples=settings().max_examples // 25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(st.lists(steps, min_size=4, max_size=15), st.sampled_from(["contract", "consent"]), st.booleans(), st.sampled_from([1, 100]))
async def test_a_mirror_of_a_segment_holds_who_is_listed(
    servers: Stack, played: list[tuple[Any, ...]], legal_basis: Any, named: bool, remembered: int
) -> None:
    async with kept(servers) as inside:
        shop, mirror = Shop(inside, legal_basis), Mirror()
        await shop.begin()
        for step in (("define", "*"), ("rules",)):
            await shop.play(step)
        customers, rest = shop.streams if named else None, [*played, ("catch up",)]
        while rest:
            async with Watching(inside, mirror, shop.purpose, customers, remembered, "wanted"):
                while rest and (step := rest.pop(0)) != ("break",):
                    if step != ("catch up",):
                        await shop.play(step)
                        continue
                    async with asyncio.timeout(PATIENCE_S):
                        while mirror.profiles.keys() != await shop.members():  # noqa: ASYNC110 - both sides move
                            await asyncio.sleep(POLL_S)


@pytest.mark.parametrize("named", [False, True])
async def test_nobody_stays_in_a_mirror_who_came_and_went_before_memberships_were_looked_at(inside: Inside, named: bool) -> None:
    parts, streams = inside.parts, sorted(new_id() for _ in range(3))
    one, other, third = streams
    keys, customers = await inside.keys(streams), streams if named else None
    await inside.define(purpose("contract", "*", "events", name="mirror"))
    await inside.record(founded(stream, number) for number, stream in enumerate(streams))
    await activated(parts, command(RULES))
    days = count(1)

    async def order() -> None:
        await inside.record([tracked(other, keys[other], now_us())])

    async def allow() -> None:
        """For a second."""
        until = datetime.fromtimestamp((now_us() + SECOND) / SECOND, UTC).isoformat()
        await inside.record([identified(third, keys[third], next(days), until=until)])

    buyers, recent, valid = Mirror(), Mirror(), Mirror()
    async with Watching(inside, buyers, "mirror", customers, segment="buyers") as watching:
        await watching.caught_up()
        async with held_up(inside):
            await inside.record([tracked(one, keys[one], now_us())])
            await passed(SECOND)
        await watching.caught_up()
        await holds(buyers)

        await order()
        await enters(buyers, other, order)
        await allow()
        await watching.caught_up()
        async with held_up(inside):
            await activated(parts, command(OTHER_RULES))
            async with (
                Watching(inside, recent, "mirror", customers, segment="recent"),
                Watching(inside, valid, "mirror", customers, segment="valid"),
            ):
                await enters(valid, third, allow)
                await passed(SECOND)
        for mirror, segment in ((recent, "recent"), (valid, "valid")):  # they go on where they broke off
            async with Watching(inside, mirror, "mirror", customers, segment=segment):
                await holds(mirror)
    assert not await parts.memberships.changes("valid", (), END_OF_TIME, 5), "else this shows nothing"


async def passed(span_us: int) -> None:
    """What began by now is over."""
    until = now_us() + span_us
    while now_us() <= until:  # noqa: ASYNC110 - the clock is what is waited for
        await asyncio.sleep(POLL_S)


async def test_a_watch_of_a_segment_ends_with_what_its_purpose_may_not_see(inside: Inside) -> None:
    await inside.define(purpose("contract", "city", name="mirror"))
    await activated(inside.parts, command(RULES))
    with pytest.raises(NotPermitted, match="may not see"):
        await anext(inside.parts.watches.all("mirror", None, with_verified=True, segment="buyers"))
    with pytest.raises(NotFound, match="no such segment"):
        await anext(inside.parts.watches.some("mirror", [new_id()], None, with_verified=True, segment="nowhere"))
    watching = Watching(inside, Mirror(), "mirror", None, segment="kiel")
    async with watching:
        await watching.caught_up()
        await activated(inside.parts, command(RULES.replace("traits.city == 'Kiel'", "has(traits.income)")))
        with pytest.raises(NotPermitted, match="may not see"):
            await asyncio.wait_for(watching._task, PATIENCE_S)
