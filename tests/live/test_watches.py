"""Who keeps profiles by what a watch tells holds what reads give, whatever happens, however often the watch breaks."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.profile.v1 import profile_pb2
from c360.profile.v1 import watch_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.profile import following, watches
from services.profile.api import profile, watch, watching
from services.profile.api.watching import Teller, Wanted, customer_hash
from services.profile.domain.decided import KnownDecision
from services.profile.watch_turns import WatchTurns
from services.stack.stack import Stack
from shared.events.catalogue import Entry
from shared.events.consent import Outcome
from shared.ids import derived_id, to_text
from shared.instants import now_us
from shared.vault import DataKey
from tests.live.inside import Inside, cut_off, erased, founded, identified, linked, merged, new_id, restricted, tracked
from tests.live.mirror import MASK, PATIENCE_S, POLL_S, TOKENS, Mirror, Watching, shown
from tests.live.test_profile_rules import activated, command
from tests.properties.people_read import decision, overlay, purpose

PEOPLE = 3
EMAILS = ["a", "b", "c"]
OUTCOMES: list[Outcome] = ["granted", "withdrawn"]
who = st.integers(0, PEOPLE - 1)
steps = st.one_of(
    st.tuples(st.just("identify"), who, st.sampled_from(["Kiel", "Bremen", None])),
    st.tuples(st.just("track"), who),
    st.tuples(st.just("merge"), who, who),
    st.tuples(st.just("split"), who, who),
    st.tuples(st.just("restrict"), who),
    st.tuples(st.just("erase"), who),
    st.tuples(st.just("decide"), who, st.sampled_from(OUTCOMES)),
    st.tuples(st.just("restrict processing"), who),
    st.tuples(st.just("lift"), who),
    st.tuples(st.just("define"), st.sampled_from(["city", "email", "*"])),
    st.tuples(st.just("break")),
    st.tuples(st.just("catch up")),
)


@asynccontextmanager
async def emptied(servers: Stack) -> AsyncIterator[Inside]:
    """A log of its own for each: a new version of a purpose has everybody told again."""
    inside = await Inside.open(servers)
    inside.confirm_consent()
    try:
        yield inside
    finally:
        await inside.close()


@pytest.fixture
async def inside(servers: Stack) -> AsyncIterator[Inside]:
    async with emptied(servers) as inside:
        yield inside


@pytest.fixture(autouse=True)
def in_small_pages_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAGE_EVENTS", 5)
    monkeypatch.setattr(following, "PAGE_DECISIONS", 1)
    monkeypatch.setattr(watches, "CUSTOMERS_AT_ONCE", 2)
    monkeypatch.setattr(watches, "GATHERING_S", 0.0)
    monkeypatch.setattr(watches, "RECHECK_S", 5.0)


class World:
    """Some people; what happens to them is told in words."""

    def __init__(self, inside: Inside, legal_basis: Any) -> None:
        self._inside = inside
        self._legal_basis = legal_basis
        self.streams = [new_id() for _ in range(PEOPLE)]
        self.purpose = f"purpose-{new_id().hex()}"
        self._versions = 0
        self._at = 100
        self._keys: dict[bytes, DataKey] = {}
        self._joined = 0
        self._restrictions: dict[int, KnownDecision] = {}  # the last of each

    async def begin(self) -> None:
        self._keys = await self._inside.keys(self.streams)
        await self.play(("define", "city"))
        births = [founded(stream, number) for number, stream in enumerate(self.streams)]
        await self._inside.record([*births, *(linked(s, self._keys[s], f"{s.hex()}@shop.example") for s in self.streams)])

    async def play(self, step: tuple[Any, ...]) -> None:
        self._at += 1
        match step:
            case "define", seen:
                self._versions += 1
                await self._inside.define(purpose(self._legal_basis, seen, version=self._versions, name=self.purpose))
            case "restrict processing", number:
                bound = derived_id(f"{self.streams[number].hex()}@shop.example".encode())
                self._restrictions[number] = overlay(bound, self._at)
                await self._inside.decide(self._restrictions[number])
            case "lift", number:
                if restriction := self._restrictions.get(number):
                    await self._inside.decide(overlay(restriction.identifier_hash, self._at, lifts=restriction.decision_id))
            case "decide", number, outcome:
                bound = derived_id(f"{self.streams[number].hex()}@shop.example".encode())
                await self._inside.decide(decision(bound, outcome, self._at, purpose=self.purpose))
            case _:
                await self._inside.record(self._events(step))

    def _events(self, step: tuple[Any, ...]) -> list[Entry]:
        stream = self.streams[step[1]]
        key = self._keys[stream]
        pair = sorted((stream, self.streams[step[2]])) if step[0] in ("merge", "split") else []
        if pair and pair[0] == pair[1]:
            return []
        self._joined += step[0] == "merge"
        return {
            "identify": lambda: [identified(stream, key, self._at, city=step[2], email=f"{stream.hex()}@shop.example")],
            "track": lambda: [tracked(stream, key, self._at)],
            "merge": lambda: merged(pair[0], pair[1], number=self._joined),
            "split": lambda: cut_off(pair[0], pair[1], number=self._joined),
            "restrict": lambda: [restricted(stream)],
            "erase": lambda: [erased(stream)],
        }[step[0]]()


@settings(max_examples=settings().max_examples // 3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(steps, min_size=4, max_size=20),
    st.sampled_from(["contract", "consent", "legitimate_interest"]),
    st.sampled_from([None, 2, PEOPLE]),
    st.sampled_from([1, 100]),
)
async def test_a_mirror_holds_what_reads_give(
    servers: Stack, played: list[tuple[Any, ...]], legal_basis: Any, named: int | None, remembered: int
) -> None:
    async with emptied(servers) as inside:
        # Of others' changes those learn at the next recheck only, and then look at nobody: what wakes them is tested none the less.
        watches.RECHECK_S = 0.05 if named else 5.0
        world, mirror = World(inside, legal_basis), Mirror()
        await world.begin()
        rest = [*played, ("catch up",)]
        while rest:
            async with Watching(inside, mirror, world.purpose, world.streams[:named] if named else None, remembered) as watching:
                while rest and (step := rest.pop(0)) != ("break",):
                    if step == ("catch up",):
                        await watching.caught_up()
                        assert mirror.profiles == await shown(inside, world.purpose, world.streams[:named])
                    else:
                        await world.play(step)


async def test_a_watch_from_the_beginning_tells_of_everybody_once_and_of_those_it_may_not_see_nothing(inside: Inside) -> None:
    world, mirror = World(inside, "consent"), Mirror()
    await world.begin()
    for number in range(20):
        await world.play(("identify", number % PEOPLE, f"city {number}"))
    await world.play(("decide", 0, "granted"))
    async with Watching(inside, mirror, world.purpose, None) as watching:
        await watching.caught_up()
        assert mirror.profiles.keys() == {to_text(world.streams[0])}
        assert mirror.gone == []
        await world.play(("decide", 0, "withdrawn"))
        await world.play(("identify", 1, "Hull"))
        await watching.caught_up()
    assert mirror.profiles == {}
    assert mirror.gone == [(to_text(world.streams[0]), "CONSENT_WITHDRAWN")]


async def test_no_place_is_behind_a_decision_of_which_nobody_was_told(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds for reads while it is still looked up whom it is about; who leaves with a place meanwhile is told when they are back."""
    monkeypatch.setattr(watches, "RECHECK_S", 0.02)
    world, mirror, looked_up = World(inside, "consent"), Mirror(), asyncio.Event()
    await world.begin()
    for number in (0, 1):
        await world.play(("identify", number, "Kiel"))
        await world.play(("decide", number, "granted"))
    customers_of = inside.parts.consent._identifiers.customers_of

    class Late:
        async def customers_of(self, hashes: Collection[bytes]) -> dict[bytes, bytes]:
            await looked_up.wait()
            return await customers_of(hashes)

    async with Watching(inside, mirror, world.purpose, world.streams[:2]) as watching, asyncio.timeout(PATIENCE_S):
        await watching.caught_up()
        monkeypatch.setattr(inside.parts.consent, "_identifiers", Late())
        known = inside.parts.progress.applied("consent")
        withdrawing = asyncio.create_task(world.play(("decide", 1, "withdrawn")))
        await inside.parts.progress.wait("consent", known + 1, PATIENCE_S)
        place = mirror.place
        await world.play(("identify", 0, "Hull"))
        while mirror.place == place:
            assert not withdrawing.done()
            await asyncio.sleep(POLL_S)
    looked_up.set()
    await withdrawing
    async with Watching(inside, mirror, world.purpose, world.streams[:2]) as watching:
        await watching.caught_up()
    assert mirror.profiles.keys() == {to_text(world.streams[0])}
    assert mirror.gone == [(to_text(world.streams[1]), "CONSENT_WITHDRAWN")]


async def test_who_says_to_come_back_is_not_told_who_refuses(inside: Inside) -> None:
    world = World(inside, "consent")
    await world.begin()
    for number, outcome in enumerate(("granted", "withdrawn", "granted")):
        await world.play(("decide", number, outcome))
    await world.play(("erase", 2))
    forged = pb.WatchProfilesRequest(purpose=world.purpose)
    forged.resume_after.add(log="consent", number=0)
    call = inside.watches.WatchProfiles(forged, timeout=PATIENCE_S)
    shown, refusing, told = to_text(world.streams[0]).encode(), world.streams[1:], b""
    async with asyncio.timeout(PATIENCE_S):  # who holds a profile of them finds it by its hash
        while shown not in told or not all(customer_hash(stream) in told for stream in refusing):
            told += (await call.read()).SerializeToString()
    call.cancel()
    assert not any(stream in told or to_text(stream).encode() in told for stream in refusing)
    assert not any(reason in told for reason in (b"CONSENT", b"ERASED"))


async def test_what_waits_for_its_reader_is_looked_at_once_more_when_it_is_sent(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "CUSTOMERS_AT_ONCE", 100)  # all in one look, which is older than what is sent of it
    monkeypatch.setattr(following, "PAGE_EVENTS", 100)
    monkeypatch.setattr(watching, "MESSAGE_BYTES", 1)  # each is a message of its own
    world, mirror = World(inside, "consent"), Mirror()
    await world.begin()
    for number in range(PEOPLE):
        await world.play(("identify", number, "Kiel"))
        await world.play(("decide", number, "granted"))
    looks = inside.parts.watches.all(world.purpose, None, with_verified=True)
    responses = Teller(
        Wanted(MASK, frozenset(), named=False),
        inside.parts.watches.refused_since,
        inside.watch_disclosures(),
        WatchTurns(),
        after=None,
        token_of=TOKENS.token_of,
    ).responses(looks)
    mirror.take(await anext(responses))
    (shown,) = mirror.profiles
    one, other = (number for number, stream in enumerate(world.streams) if to_text(stream) != shown)
    await world.play(("decide", one, "withdrawn"))
    await world.play(("erase", other))
    async with asyncio.timeout(PATIENCE_S):
        while len(mirror.gone) < 2:
            mirror.take(await anext(responses))
            assert mirror.profiles.keys() == {shown}, "withdrawn is withdrawn for the next message, whenever it was made"
        await world.play(("decide", one, "granted"))
        while to_text(world.streams[one]) not in mirror.profiles:
            mirror.take(await anext(responses))
    await responses.aclose()


async def test_a_watch_of_one_tells_what_the_passing_of_time_changes_and_there_are_so_many_at_a_time(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "RECHECK_S", 0.05)
    monkeypatch.setattr(profile, "WATCHES_AT_MOST", 1)
    monkeypatch.setattr(profile, "REPLAYS_AT_MOST", 0)
    ordered = (
        "event.name == 'Order Completed'"  # and how long ago isn't told each second: the first that is told is the window's end
    )
    recent, since = {"of": ordered, "aggregate": "count", "window": "2s"}, {"of": ordered, "aggregate": "time_since"}
    rules = json.dumps({"computed": {"recent": recent, "since": since}})
    await activated(inside.parts, command(rules))
    await inside.define(purpose("contract", name="mirror"))
    stream = new_id()
    key = (await inside.keys([stream]))[stream]
    await inside.record([founded(stream, 0)])
    request = profile_pb2.WatchProfileRequest(customer=CustomerRef(customer_id=to_text(stream)), purpose="mirror")
    recent_orders = 0.0
    while not recent_orders:  # on a busy machine the window may be over by then
        await inside.record([tracked(stream, key, now_us())])
        call = inside.calls.WatchProfile(request, timeout=PATIENCE_S)
        first = (await call.read()).profile
        recent_orders = first.traits["recent"].value.number_value
        if not recent_orders:
            call.cancel()
    assert (await refusal(inside.calls.WatchProfile(request, timeout=PATIENCE_S))).reason == "WATCHES_BUSY"
    replay = profile_pb2.ReplayCustomerRequest(customer=request.customer, purpose="mirror")
    assert (await refusal(inside.calls.ReplayCustomer(replay, timeout=PATIENCE_S))).reason == "REPLAYS_BUSY"
    assert (await call.read()).profile.traits["recent"].value.number_value == 0, "no event came"
    monkeypatch.setattr(profile, "WATCHES_AT_MOST", 2)
    again = profile_pb2.WatchProfileRequest(customer=request.customer, purpose="mirror", resume_after=first.positions)
    resumed = inside.calls.WatchProfile(again, timeout=PATIENCE_S)
    assert (await resumed.read()).profile.traits["recent"].value.number_value == 0, "it ran out during the break"
    resumed.cancel()
    await inside.record([restricted(stream)])
    assert (await refusal(call)).reason == "HELD"


async def test_after_a_break_nothing_is_told_again_that_time_cannot_have_changed(inside: Inside) -> None:
    ordered = {"of": "event.name == 'Order Completed'", "aggregate": "count"}
    segments = {"golden": {"when": "traits.plan == 'gold'"}, "buyers": {"when": "computed.recent > 0"}}
    await activated(inside.parts, command(json.dumps({"computed": {"recent": {**ordered, "window": "1h"}}, "segments": segments})))
    await inside.define(purpose("contract", name="mirror"))
    stream = new_id()
    key = (await inside.keys([stream]))[stream]
    await inside.record([founded(stream, 0), identified(stream, key, 1, plan="gold"), tracked(stream, key, now_us())])

    async def told(**asked: Any) -> list[int]:
        """How many at first, and by who comes again at once."""
        request = pb.WatchProfilesRequest(purpose="mirror", customers=[CustomerRef(customer_id=to_text(stream))], **asked)
        counts = []
        for _ in range(2):
            call = inside.watches.WatchProfiles(request, timeout=PATIENCE_S)
            response = await call.read()
            counts.append(len(response.changes))
            request.resume_after.extend(response.positions)
            call.cancel()
        return counts

    plan, recent, withheld = (FieldMask(paths=[path]) for path in ("traits.plan", "traits.recent", "withheld"))
    assert await told(read_mask=plan) == [1, 0]
    assert await told(changed_traits=["plan"]) == [1, 0]
    assert await told(read_mask=plan, segment="golden") == [1, 0]
    assert await told(read_mask=plan, segment="buyers") == [1, 1], "it may have been left, and entered again"
    for moved in ({"read_mask": recent}, {"read_mask": withheld}, {"changed_traits": ["recent"]}, {}):
        assert await told(**moved) == [1, 1]


async def read_until(call: Any, mirror: Mirror, goal: set[str]) -> None:
    """Until the mirror has all of these."""
    async with asyncio.timeout(PATIENCE_S):
        while not goal <= mirror.profiles.keys():
            mirror.take(await call.read())


async def test_who_does_not_read_is_dropped_and_told_where_to_go_on(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SEND_TIMEOUT_S", 0.3)
    monkeypatch.setattr(watch, "WATCHES_AT_MOST", 1)
    await inside.define(purpose("contract", name="mirror"))
    streams = [new_id() for _ in range(200)]
    keys = await inside.keys(streams)
    note = {f"note_{number}": "x" * 4_000 for number in range(20)}
    await inside.record(entry for s in streams for entry in (founded(s, 0), identified(s, keys[s], 1, **note)))
    request = pb.WatchProfilesRequest(purpose="mirror")
    slow, mirror = inside.watches.WatchProfiles(request, timeout=PATIENCE_S), Mirror()
    mirror.take(await slow.read())
    refused = await refusal(inside.watches.WatchProfiles(request, timeout=PATIENCE_S))
    assert refused.reason == "WATCHES_BUSY"
    async with asyncio.timeout(PATIENCE_S):
        while refused.reason == "WATCHES_BUSY":  # until the slow one was dropped
            other = inside.watches.WatchProfiles(request, timeout=PATIENCE_S)
            try:
                await other.read()
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(POLL_S)
        other.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as dropped:
        await read_until(slow, mirror, {"the end"})
    told = info_of(dropped.value)
    assert told.reason == "WATCH_TOO_SLOW"
    places = [part.rpartition(":") for part in told.metadata["positions"].split()]
    for name, _, number in places:
        log, _, partition = name.partition("/")
        request.resume_after.add(log=log, partition=int(partition or 0), number=int(number))
    monkeypatch.setattr(watch, "WATCHES_AT_MOST", 2)  # the one that was cancelled may not have ended yet
    again = inside.watches.WatchProfiles(request, timeout=PATIENCE_S)
    await read_until(again, mirror, {to_text(stream) for stream in streams})
    again.cancel()


async def test_only_a_change_of_the_traits_asked_for_is_told_and_who_is_nobody_is_named(inside: Inside) -> None:
    await inside.define(purpose("contract", name="mirror"))
    stream = new_id()
    key = (await inside.keys([stream]))[stream]
    await inside.record([founded(stream, 0), identified(stream, key, 1, city="Kiel", tier=1)])
    customer, nobody = CustomerRef(customer_id=to_text(stream)), CustomerRef(customer_id=to_text(new_id()))
    placeholder = CustomerRef(identifier=Identifier(namespace="user_id", value="none"))
    request = pb.WatchProfilesRequest(purpose="mirror", customers=[customer, nobody, placeholder], changed_traits=["city"])
    call = inside.watches.WatchProfiles(request, timeout=PATIENCE_S)
    first = await call.read()
    assert list(first.unknown_customers) == [nobody, placeholder]
    assert len(first.changes) == 1
    await inside.record([identified(stream, key, 2, tier=2)])
    await inside.record([identified(stream, key, 3, city="Kiel")])
    await inside.record([identified(stream, key, 4, city="Bremen")])
    second = await call.read()
    call.cancel()
    async with asyncio.timeout(PATIENCE_S):
        while inside.parts.hub.is_watched:  # noqa: ASYNC110 - who is gone is not watched for
            await asyncio.sleep(POLL_S)
    (change,) = second.changes
    values = {name: trait.value.string_value or trait.value.number_value for name, trait in change.profile.traits.items()}
    assert values == {"city": "Bremen", "tier": 2}


async def refusal(call: Any) -> ErrorInfo:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    return info_of(refused.value)


def info_of(error: grpc.aio.AioRpcError) -> ErrorInfo:
    status, info = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"]), ErrorInfo()
    assert status.details[0].Unpack(info)
    return info
