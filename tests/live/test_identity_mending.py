"""Mending takes identity's log over only when there is something to mend; a fenced identity leaves at once, and callers are told to come again."""

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator

import asyncpg
import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.identity.v1 import identity_pb2 as pb
from c360.ingest.v1 import ingest_pb2
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from services.identity.composition import IdentitySettings
from services.identity.rebuild import Found, rebuild
from services.stack.stack import Stack
from shared.config import read_settings
from shared.errors import Fenced, WrongState
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, TRY_AGAIN, Platform
from tests.live.test_identity import Store, event_of, store
from tests.stacks import fresh_stack

__all__ = ["store"]  # the fixture
PATIENCE_S = 30.0
POLL_S = 0.02


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with fresh_stack(services=("ingest", "identity")) as stack:
        yield stack


class Caller:
    """Places one hold after the other, each of which identity has to write, and keeps how each ended and when."""

    def __init__(self, platform: Platform, person: str) -> None:
        self._platform = platform
        self._person = CustomerRef(identifier=Identifier(namespace="user_id", value=person))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.ended: list[tuple[float, grpc.RpcError | None]] = []

    def __enter__(self) -> "Caller":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(POLL_S):
            request = pb.PlaceLegalHoldRequest(
                request_id=str(uuid.uuid4()), customer=self._person, reason="a case", placed_by="law"
            )
            try:
                self._platform.identity.PlaceLegalHold(request, timeout=DEADLINE_S)
                self.ended.append((time.monotonic(), None))
            except grpc.RpcError as error:
                self.ended.append((time.monotonic(), error))

    def wait_answered(self) -> None:
        """By a call that is begun from now on, and one behind it."""
        before, give_up_at = len(self.ended), time.monotonic() + PATIENCE_S
        while sum(error is None for _, error in self.ended[before:]) < 2:
            assert time.monotonic() < give_up_at, f"not answered any more: {self.ended[-1]}"
            time.sleep(POLL_S)

    def refused(self) -> list[grpc.RpcError]:
        return [error for _, error in self.ended if error is not None]


def seen(platform: Platform) -> str:
    person = f"ann-{uuid.uuid4()}"
    key = platform.register_source(f"mending-{person}")
    kind = ingest_pb2.EVENT_TYPE_IDENTIFY
    event = ingest_pb2.Event(type=kind, user_id=person, anonymous_id=f"browser-{person}", message_id=str(uuid.uuid4()))
    platform.resolve("user_id", person, platform.record(key, event).position)
    return person


def mend(stack: Stack) -> Found:
    return asyncio.run(rebuild(read_settings(IdentitySettings, stack.environment_of("identity")), mend=True))


async def alter(stack: Stack) -> None:
    admin = await asyncpg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360")
    await admin.execute("UPDATE identity.identifiers SET customer = sha256('x') WHERE NOT own")
    await admin.close()


def test_where_nothing_is_to_be_mended_nobody_hears_of_it(stack: Stack) -> None:
    with Platform(stack.endpoints) as platform, Caller(platform, seen(platform)) as caller:
        caller.wait_answered()
        process = stack.pid("identity")
        found = mend(stack)
        caller.wait_answered()
    assert (found.same, found.mended, stack.pid("identity")) == (True, False, process)
    assert found.moved is not None, "the facts are looked at too"
    assert caller.refused() == []


def test_while_something_is_mended_callers_are_told_to_come_again_and_soon_answered(stack: Stack) -> None:
    with Platform(stack.endpoints) as platform, Caller(platform, seen(platform)) as caller:
        asyncio.run(alter(stack))
        caller.wait_answered()
        process = stack.pid("identity")
        assert mend(stack).mended
        caller.wait_answered()
        assert stack.pid("identity") != process
    assert {error.code() for error in caller.refused()} <= set(TRY_AGAIN)
    assert all(retry_delay_s(error) for error in caller.refused() if reason_of(error) == "FENCED")
    assert mend(stack).same


def retry_delay_s(error: grpc.RpcError) -> int:
    """0 where the service didn't say it: it wasn't there."""
    status, info = rpc_status.from_call(error), RetryInfo()  # type: ignore[arg-type]
    found = any(detail.Unpack(info) for detail in status.details) if status else False
    return info.retry_delay.seconds if found else 0


async def test_who_was_fenced_learns_it_though_nothing_is_to_be_written(store: Store) -> None:
    parts = await store.parts()
    watching = asyncio.create_task(parts.ledger.until_fenced())
    await parts.unifier.unify([event_of("1", user_id="ann")], 1, [])
    assert not watching.done()
    await store.parts()
    with pytest.raises(Fenced):
        await asyncio.wait_for(watching, PATIENCE_S)


async def test_whose_turn_failed_takes_nothing_back_from_who_took_over(store: Store) -> None:
    """A refusal makes the next turn load anew, which is no taking over."""
    parts = await store.parts()

    async def refuse() -> None:
        async with parts.ledger.turn():
            raise WrongState("asked in vain", reason="ALREADY_TOGETHER")

    with pytest.raises(WrongState):
        await refuse()
    await parts.unifier.unify([event_of("1", user_id="ann")], 1, [])
    with pytest.raises(WrongState):
        await refuse()
    newer = await store.parts()
    with pytest.raises(Fenced):
        await parts.unifier.load()
    await newer.unifier.unify([event_of("2", user_id="bob")], 2, [])
