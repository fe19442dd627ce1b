"""What one erasure, or one question about it, stumbles over holds up neither the others nor the service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as RequestTimeout

from services.identity.domain.certificate import GROUNDS, GroundUnknown, certify
from services.identity.domain.erasure import EraseCustomer, Erasure
from services.identity.epochs import EPOCH_KEY_AGE_US, Epochs
from services.identity.erasing import Eraser
from services.identity.tables import erasures
from services.stack.stack import Stack
from shared import bus
from shared.bus.purging import PARTICIPANTS, Participant, Question, Report, answer, decode_question, decode_report, encode
from shared.errors import NotFreshEnough
from shared.events.erasure import Remains
from shared.events.wire import RawEvent
from shared.ids import id_maker
from shared.instants import now_us
from shared.telemetry import ERASURES_STUCK, REPORTS_FAILED
from shared.vault import EnvelopeBroken, FileKeyring
from shared.waiting import end
from tests.live import test_identity
from tests.live.test_identity import Store

store = test_identity.store
TIMEOUT_S = 30.0
LONG_AGO = now_us() - 100 * EPOCH_KEY_AGE_US  # no key that other tests use is of that age
UNKNOWN = {"a word of a newer release": 3}


@pytest.fixture
async def client(servers: Stack) -> AsyncIterator[Client]:
    client = await bus.connect(servers.broker_url, "test")
    yield client
    await client.close()


@pytest.fixture
def keyring(servers: Stack) -> FileKeyring:
    return FileKeyring(Path(servers.environment_of("identity")["C360_KEYRING_FILE"]))


class Services:
    """They answer for identity's peers; about `newer` erasures with a word that this release doesn't know."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.newer: set[bytes] = set()

    async def start(self) -> None:
        for participant in PARTICIPANTS:
            await self._client.subscribe(f"c360.erasure.{participant}", cb=self._answer)

    async def _answer(self, message: Msg) -> None:
        known = decode_question(message.data).erasure_id not in self.newer
        await message.respond(encode(Report([]) if known else {"purges": [], "kept": UNKNOWN}))


async def request(eraser: Eraser, store: Store, device: str) -> Erasure:
    [customer] = await store.members("anonymous_id", device)
    command = EraseCustomer(request_id=device, customer=customer, policy="refuse", reason="asked", requested_by="")
    return await eraser.erase(command)


async def test_an_erasure_that_can_not_go_on_holds_up_no_other(store: Store, client: Client, keyring: FileKeyring) -> None:
    services = Services(client)
    await services.start()
    devices = ["answered by a newer release", "recorded by a newer release", "last"]
    eraser = await identity_of(store, client, keyring, devices)
    answered, recorded, last = [await request(eraser, store, device) for device in devices]
    services.newer.add(answered.erasure_id)
    async with store.pool.acquire() as connection:
        await erasures.save(connection, msgspec.structs.replace(recorded, stage="purged", kept=UNKNOWN))
    stuck, running = ERASURES_STUCK._value.get(), asyncio.ensure_future(eraser.run())
    try:
        assert (await eraser.wait(last, TIMEOUT_S)).stage == "completed"
        assert {one.stage for one in await erasures.get(store.pool, [answered.erasure_id, recorded.erasure_id])} == {
            "keys_destroyed",
            "purged",
        }
        assert ERASURES_STUCK._value.get() == stuck + 2
        services.newer.clear()
        eraser.tell()
        assert (await eraser.wait(answered, TIMEOUT_S)).stage == "completed"
        assert not running.done()
    finally:
        await end([running])


async def test_an_erasure_waits_for_services_that_are_away(store: Store, client: Client, keyring: FileKeyring) -> None:
    eraser = await identity_of(store, client, keyring, ["device"])
    erasure = await request(eraser, store, "device")
    running = asyncio.ensure_future(eraser.run())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while erasure.stage != "keys_destroyed":
                [erasure] = await erasures.get(store.pool, [erasure.erasure_id])
        await Services(client).start()
        assert (await eraser.wait(erasure, TIMEOUT_S)).stage == "completed"
        assert not running.done()
    finally:
        await end([running])


async def identity_of(store: Store, client: Client, keyring: FileKeyring, devices: Sequence[str]) -> Eraser:
    """A process that knows who has these devices."""
    unifier, _, ledger = await store.started()
    await unifier.unify([device_event(device) for device in devices], 1, [])
    epochs = Epochs(client, ledger, store.vault, lambda: LONG_AGO)
    return Eraser(store.pool, client, ledger, store.vault, epochs, keyring, unifier.graph, unifier.forget, now_us, id_maker(now_us))


def device_event(device: str) -> RawEvent:
    return RawEvent(kind="track", message_id=device, source="web", anonymous_id=device, occurred_at=1, received_at=1)


@pytest.mark.parametrize("error", [ZeroDivisionError(), EnvelopeBroken("altered"), NotFreshEnough("not yet")], ids=repr)
async def test_a_service_outlives_every_question_and_every_failure_to_report(client: Client, error: Exception) -> None:
    """Nobody certifies without its answer, and it is asked again."""
    failures, participant, before = list[Exception](), PARTICIPANTS[0], REPORTS_FAILED._value.get()

    async def report(_: Question) -> Report:
        if failures:
            raise failures.pop()
        return Report([], {"suppressions": 1})

    answering = asyncio.ensure_future(answer(client, participant, report))
    try:
        question = encode(Question(bytes(16), [], [], 0))
        assert await answered(client, participant, question)
        failures.append(error)
        for asked in (b"", b"\xc1", encode({"erasure_id": 17}), question):
            await client.publish(subject(participant), asked)
        assert decode_report(await answered(client, participant, question)).kept == {"suppressions": 1}
        assert REPORTS_FAILED._value.get() == before + 3 + (not isinstance(error, NotFreshEnough))
    finally:
        await end([answering])


def subject(participant: Participant) -> str:
    return f"c360.erasure.{participant}"


async def answered(client: Client, participant: Participant, question: bytes) -> bytes:
    """Asked until there is an answer."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            with contextlib.suppress(RequestTimeout, NoRespondersError):
                return (await client.request(subject(participant), question, timeout=1.0)).data


def test_what_may_remain_has_its_ground_and_nothing_else_is_certified(keyring: FileKeyring) -> None:
    assert GROUNDS.keys() == set(get_args(Remains))
    erasure = Erasure(
        erasure_id=bytes(16), request_id="r", customer=bytes(16), policy="refuse", reason="", requested_by="", requested_at=0
    )
    certify(msgspec.structs.replace(erasure, kept=dict.fromkeys(GROUNDS, 1)), 0, keyring)
    with pytest.raises(GroundUnknown):
        certify(msgspec.structs.replace(erasure, kept=UNKNOWN), 0, keyring)
