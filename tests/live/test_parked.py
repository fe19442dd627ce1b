"""What can't be applied is parked and replayed once; a run of it, or what only a newer release knows, stops the consumer."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import httpx
import pytest
from c360.ingest.v1.ingest_pb2 import EVENT_STATUS_ACCEPTED, EVENT_STATUS_DUPLICATE, EVENT_TYPE_TRACK, Event
from c360.parked.v1 import parked_pb2 as pb
from c360.parked.v1.parked_pb2_grpc import ParkedServiceStub
from nats.aio.client import Client

from services.stack.stack import Stack
from shared import bus
from shared.bus.connection import ensure_stream
from shared.events import customer as events
from shared.events.catalogue import Entry, GraphFact, encode, make_entry
from shared.events.wire import CUSTOMER_STREAM, INGEST_STREAM, Batch, RawEvent, Unit
from shared.ids import id_maker, to_text
from shared.instants import now_us
from shared.poison import POISON_RUN_LIMIT
from shared.rpc.errors import reason_of
from shared.vault import DataKey, FileKeyring
from tests.e2e.client import CHANNEL_OPTIONS, DEADLINE_S, Platform, by_id, by_identifier
from tests.stacks import fresh_directory
from tests.waiting import WAITS_S

POLL_S = 0.05
PATIENT: dict[str, Any] = {"timeout": DEADLINE_S, "wait_for_ready": True}  # a service may just be starting again
new_id = id_maker(now_us)


def answered(ask: Callable[[], Any]) -> Any:
    """A service that has just started stands by until the log is its own: it is asked again."""
    give_up_at = time.monotonic() + DEADLINE_S
    while True:
        try:
            return ask()
        except grpc.RpcError as error:
            if reason_of(error) != "STANDBY" or time.monotonic() > give_up_at:
                raise
        time.sleep(POLL_S)


@dataclass
class World:
    stack: Stack
    client: Client
    vault: Any  # a superuser's connection to the vault

    def parked(self, service: str) -> list[pb.Parked]:
        with grpc.insecure_channel(getattr(self.stack.endpoints, service), options=CHANNEL_OPTIONS) as channel:
            ask = partial(ParkedServiceStub(channel).ListParked, pb.ListParkedRequest(page_size=500), **PATIENT)
            return list(answered(ask).parked)

    def replay(self, service: str, *parked_ids: str, everything: bool = False) -> list[pb.ReplayResult]:
        request = pb.ReplayParkedRequest(parked_ids=parked_ids, all=everything)
        with grpc.insecure_channel(getattr(self.stack.endpoints, service), options=CHANNEL_OPTIONS) as channel:
            return list(answered(partial(ParkedServiceStub(channel).ReplayParked, request, **PATIENT)).results)

    def halted(self, service: str) -> bool:
        try:
            metrics = httpx.get(self.stack.endpoints.metrics[service]).text
        except httpx.TransportError:
            return False
        told = any(line.startswith("c360_consumer_halted{") and line.endswith(" 1.0") for line in metrics.splitlines())
        return told and not self.stack.is_ready(service)

    async def put_key(self, owner: bytes, key: bytes) -> None:
        """As when the vault is restored."""
        keyring = FileKeyring(Path(self.stack.environment_of("identity")["C360_KEYRING_FILE"]))
        await self.vault.execute(
            """INSERT INTO vault.data_keys (owner, key_id, wrapped, created_at) VALUES ($1, $2, $3, 0)
               ON CONFLICT (owner) DO UPDATE SET wrapped = excluded.wrapped""",
            owner,
            *keyring.wrap(key, owner),
        )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


async def world_of(stack: Stack) -> AsyncIterator[World]:
    client = await bus.connect(stack.broker_url, "test")
    vault = await asyncpg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360_vault")
    yield World(stack, client, vault)
    await vault.close()
    await client.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    with fresh_directory() as made:
        yield made


@pytest.fixture
async def whole(directory: Path) -> AsyncIterator[World]:
    """Everything, for one test alone."""
    with Stack(directory, disposable=True) as stack:
        async for world in world_of(stack):
            yield world
        print(stack.log_tail("identity", 40), stack.log_tail("profile", 40))


@pytest.fixture
async def without_identity(directory: Path) -> AsyncIterator[World]:
    """Its followers; CUSTOMER is filled by the test."""
    with Stack(directory, services=["consent", "profile"], disposable=True) as stack:
        async for world in world_of(stack):
            await ensure_stream(world.client, CUSTOMER_STREAM, 1)
            yield world
        print(stack.log_tail("profile", 40))


def tracked(user_id: str) -> RawEvent:
    now = now_us()
    return RawEvent(
        kind="track", message_id=to_text(new_id()), source="shop", user_id=user_id, name="Seen", occurred_at=now, received_at=now
    )


async def test_a_message_that_can_not_be_opened_is_parked_and_applied_once_when_its_key_is_back(whole: World) -> None:
    epoch, secret = b"epoch of a lost vault", os.urandom(32)
    sealed = DataKey(secret).seal(encode([tracked("ann")]), epoch)
    publish = whole.client.jetstream().publish
    await publish(INGEST_STREAM, b"not a batch")
    await publish(INGEST_STREAM, encode(Batch(epoch, 1, sealed)))
    with Platform(whole.stack.endpoints) as platform:
        key = platform.register_source("shop")
        platform.newest_position(key)
        await until(lambda: len(whole.parked("identity")) == 2)
        nonsense, lost = whole.parked("identity")
        assert [(one.stream, one.reason) for one in (nonsense, lost)] == [("INGEST", "NOT_A_BATCH"), ("INGEST", "EPOCH_KEY_GONE")]
        [result] = whole.replay("identity", lost.parked_id)
        assert (result.outcome, result.reason) == (pb.REPLAY_OUTCOME_STILL_PARKED, "EPOCH_KEY_GONE")
        await whole.put_key(epoch, secret)
        results = whole.replay("identity", everything=True)
        assert [r.outcome for r in results] == [pb.REPLAY_OUTCOME_STILL_PARKED, pb.REPLAY_OUTCOME_APPLIED]
        timeline = platform.get_timeline(by_identifier("user_id", "ann"), "audit", *results[1].positions, kinds=("tracked",))
        assert [entry.name for entry in timeline] == ["Seen"]
        again = whole.replay("identity", lost.parked_id, nonsense.parked_id)
        assert [r.outcome for r in again] == [pb.REPLAY_OUTCOME_NOT_PARKED, pb.REPLAY_OUTCOME_STILL_PARKED]
        assert [(one.attempts, one.reason) for one in whole.parked("identity")] == [(2, "NOT_A_BATCH")]
        listed = command(whole, 0, "list", "identity", "--json")
        assert (listed["parked_id"], listed["reason"], listed["attempts"]) == (nonsense.parked_id, "NOT_A_BATCH", 2)
        assert command(whole, 0, "show", "identity", nonsense.parked_id, "--json") == listed
        [replayed] = command(whole, 1, "replay", "identity", "--all", "--json")
        assert (replayed["outcome"], replayed["reason"]) == ("still-parked", "NOT_A_BATCH")
        [unknown] = command(whole, 1, "replay", "identity", lost.parked_id, "--json")
        assert unknown["outcome"] == "not-parked"
        assert discard_reason(whole, nonsense.parked_id, "") == "REASON_INVALID"
        assert discard_reason(whole, lost.parked_id, "not ours") == "NOT_PARKED"
        gone = command(whole, 0, "discard", "identity", nonsense.parked_id, "--reason", "not ours, ticket 4711", "--json")
        assert (gone["parked_id"], gone["reason"]) == (nonsense.parked_id, "NOT_A_BATCH")
        assert whole.parked("identity") == []
        [line] = [json.loads(line) for line in log_of(whole).splitlines() if '"discarded"' in line]
        assert (line["parked_id"], line["reason"]) == (nonsense.parked_id, "not ours, ticket 4711")


def log_of(world: World) -> str:
    return (world.stack.data_directory / "logs" / "identity.log").read_text()


def discard_reason(world: World, parked_id: str, why: str) -> str:
    request = pb.DiscardParkedRequest(parked_id=parked_id, reason=why)
    with (
        grpc.insecure_channel(world.stack.endpoints.identity, options=CHANNEL_OPTIONS) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        ParkedServiceStub(channel).DiscardParked(request, **PATIENT)
    return reason_of(refused.value)


async def test_a_parked_event_that_is_sent_again_is_applied_once_whichever_comes_first(whole: World) -> None:
    epoch, secret = b"epoch of a lost vault", os.urandom(32)
    parked = [tracked("ann"), tracked("bob")]
    sealed = DataKey(secret).seal(encode(parked), epoch)
    await whole.client.jetstream().publish(INGEST_STREAM, encode(Batch(epoch, 2, sealed)))
    with Platform(whole.stack.endpoints) as platform:
        key = platform.register_source("shop")
        ann, bob = (_as_sent(event) for event in parked)
        await until(lambda: len(whole.parked("identity")) == 1)
        assert platform.record(key, ann).results[0].status == EVENT_STATUS_ACCEPTED
        platform.resolve("user_id", "ann", platform.newest_position(key))
        await whole.put_key(epoch, secret)
        [result] = whole.replay("identity", everything=True)
        assert result.outcome == pb.REPLAY_OUTCOME_APPLIED
        for event in (ann, bob):
            await until(partial(_is_duplicate, platform, key, event))
            person = by_identifier("user_id", event.user_id)
            assert len(platform.get_timeline(person, "audit", *result.positions, kinds=("tracked",))) == 1


def _is_duplicate(platform: Platform, key: str, event: Event) -> bool:
    return platform.record(key, event).results[0].status == EVENT_STATUS_DUPLICATE


def _as_sent(event: RawEvent) -> Event:
    return Event(type=EVENT_TYPE_TRACK, message_id=event.message_id, user_id=event.user_id or "", name=event.name)


def command(world: World, exit_code: int, *arguments: str) -> Any:
    """What `c360 parked` prints."""
    c360 = str(Path(sys.executable).parent / "c360")
    environment = os.environ | {"C360_DATA_DIR": str(world.stack.data_directory)}
    ran = subprocess.run([c360, "parked", *arguments], env=environment, capture_output=True, text=True)
    assert ran.returncode == exit_code, ran.stderr
    return json.loads(ran.stdout)


async def test_a_run_of_poison_stops_identity_also_after_a_restart_until_it_is_told_to_go_on(whole: World) -> None:
    with Platform(whole.stack.endpoints) as platform:
        key = platform.register_source("shop")
        for number in range(POISON_RUN_LIMIT + 5):
            await whole.client.jetstream().publish(INGEST_STREAM, b"not a batch %d" % number)
        behind = platform.newest_position(key)
        await until(lambda: whole.halted("identity"))
        held_back = len(whole.parked("identity"))
        assert held_back < POISON_RUN_LIMIT
        whole.stack.kill("identity")
        await until(lambda: whole.halted("identity"))
        assert len(whole.parked("identity")) == held_back
        for timeout_s in WAITS_S:
            with pytest.raises(grpc.RpcError) as refused:
                platform.resolve("user_id", "nobody", behind, timeout_s=timeout_s)
            if reason_of(refused.value):
                break
        assert reason_of(refused.value) == "NOT_FRESH_ENOUGH"
        whole.stack.kill("identity", C360_POISON_RUN_LIMIT="1000")
        await until(lambda: len(whole.parked("identity")) == POISON_RUN_LIMIT + 5)
        with pytest.raises(grpc.RpcError) as unknown:
            platform.resolve("user_id", "nobody", behind)
        assert reason_of(unknown.value) == "IDENTIFIER_UNKNOWN"


async def hand_over(world: World, *entries: Entry) -> None:
    number = (await world.client.jetstream().stream_info(CUSTOMER_STREAM)).state.last_seq
    await bus.publish_at(world.client, CUSTOMER_STREAM, number, encode(Unit(number, {}, list(entries))))


def founded(customer: bytes) -> Entry:
    return make_entry(events.FOUNDED, customer, new_id(), now_us(), events.CustomerFounded(founding_number=0))


def identified(customer: bytes, key: DataKey, **traits: Any) -> Entry:
    public = events.Activity(source="shop", resolved_by=b"h" * 16, received_at=now_us())
    return make_entry(events.IDENTIFIED, customer, new_id(), now_us(), public, events.Identified(traits=traits), key)


async def test_an_event_that_its_key_does_not_open_is_parked_alone_and_lands_in_its_place_later(without_identity: World) -> None:
    world, customer, right = without_identity, new_id(), os.urandom(32)
    await world.put_key(customer, os.urandom(32))
    early = identified(customer, DataKey(right), city="Bremen")
    broken = msgpack_with_a_broken_header(identified(customer, DataKey(right)))
    await hand_over(world, early, broken)
    await until(lambda: len(world.parked("profile")) == 2)
    by_reason = {one.reason: one for one in world.parked("profile")}
    sealed, undecodable = by_reason["ENVELOPE_BROKEN"], by_reason["UNDECODABLE"]
    assert (sealed.type_id, sealed.customer_id, sealed.part) == ("customer.identified", to_text(customer), 0)
    await world.put_key(customer, right)
    world.stack.kill("profile")  # it had the wrong key in its cache
    world.stack.wait_ready("profile")
    await hand_over(world, founded(customer), identified(customer, DataKey(right), tier="gold"))
    results = world.replay("profile", sealed.parked_id, undecodable.parked_id)
    assert [r.outcome for r in results] == [pb.REPLAY_OUTCOME_APPLIED, pb.REPLAY_OUTCOME_STILL_PARKED]
    with Platform(world.stack.endpoints) as platform:
        await until(lambda: len(platform.get_profile(by_id(to_text(customer)), "audit", *results[0].positions).traits) == 2)
        assert [e.event_id for e in platform.get_timeline(by_id(to_text(customer)), "audit")].count(to_text(early.event_id)) == 1
    assert [r.outcome for r in world.replay("profile", sealed.parked_id)] == [pb.REPLAY_OUTCOME_NOT_PARKED]


def msgpack_with_a_broken_header(entry: Entry) -> Entry:
    return Entry(entry.stream, entry.event_id, entry.type_id, entry.schema_version, 0, b"\xc1", entry.envelope)


async def test_a_run_of_poison_stops_profile(without_identity: World) -> None:
    customer = new_id()
    await without_identity.put_key(customer, os.urandom(32))
    wrong = DataKey(os.urandom(32))
    await hand_over(without_identity, founded(customer), *(identified(customer, wrong) for _ in range(POISON_RUN_LIMIT)))
    await until(lambda: without_identity.halted("profile"))
    assert without_identity.parked("profile") == []


class CustomersPraised(GraphFact, frozen=True, kw_only=True):
    """Of a release that the running one knows nothing of."""

    other: bytes


async def test_who_needs_an_unknown_event_stops_and_who_does_not_goes_on(without_identity: World) -> None:
    world, customer = without_identity, new_id()
    await hand_over(world, founded(customer), Entry(customer, new_id(), "customer.praised", 1, 0, encode({"by": "us"})))
    await until(lambda: world.halted("profile"))
    assert "UNKNOWN_EVENT" in world.stack.log_tail("profile")
    assert world.stack.is_ready("consent")
    await hand_over(world, Entry(customer, new_id(), "customer.praised", 1, 0, encode(CustomersPraised(other=new_id()))))
    await until(lambda: world.halted("consent"))
    assert "customer.praised version 1" in world.stack.log_tail("consent")
