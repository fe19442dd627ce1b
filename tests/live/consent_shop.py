"""A shop for tests of consent: the real service, customers that identity would have published, and readers with leases."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import registry_pb2 as registry
from c360.consent.v1.consent_pb2_grpc import ConsentServiceStub
from c360.consent.v1.registry_pb2_grpc import RegistryServiceStub
from c360.consent.v1.signals_pb2_grpc import SignalServiceStub
from nats.aio.client import Client

from services.stack.stack import Stack
from shared import bus
from shared.bus.connection import ensure_stream
from shared.bus.enforcement import Lease
from shared.events import customer as events
from shared.events.catalogue import Entry, Public, make_entry
from shared.events.said import seal
from shared.events.wire import CONSENT_STREAM, CUSTOMER_STREAM, Statement, Unit, decode_unit, encode
from shared.evidence_key import EvidenceKey
from shared.identifiers import hash_of, normalise
from shared.ids import to_text
from shared.rpc.errors import reason_of
from shared.vault import FileKeyring
from shared.waiting import end
from tests.waiting import WAITS_S

DEADLINE_S = 20.0  # generous: what is tested is the answer, not its speed
POLL_S = 0.02


def an_email() -> Identifier:
    return Identifier(namespace="email", value=f"anna.{uuid4().hex}@example.com")


async def until(holds: Callable[[], Awaitable[bool]], deadline_s: float = DEADLINE_S) -> None:
    async with asyncio.timeout(deadline_s):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


class Shop:
    def __init__(self, stack: Stack, client: Client, channel: grpc.aio.Channel) -> None:
        self.stack = stack
        self.client = client
        self.channel = channel
        self.calls: Any = ConsentServiceStub(channel)
        self.registry: Any = RegistryServiceStub(channel)
        self.signals: Any = SignalServiceStub(channel)
        self._key = FileKeyring(Path(stack.environment_of("consent")["C360_KEYRING_FILE"])).lookup_key
        self._evidence_key = EvidenceKey(self._key).data_key

    @staticmethod
    async def open(stack: Stack) -> "Shop":
        client = await bus.connect(stack.broker_url, "test")
        await ensure_stream(client, CUSTOMER_STREAM, 1)
        return Shop(stack, client, grpc.aio.insecure_channel(stack.endpoints.consent))

    async def close(self) -> None:
        await self.channel.close()
        await self.client.close()

    async def publish(self, *entries: Entry, ingested: int = 0, statements: Sequence[Statement] = ()) -> Position:
        """What one transaction of identity would have made known."""
        number = (await self.client.jetstream().stream_info(CUSTOMER_STREAM)).state.last_seq
        unit = Unit(number, {"INGEST": ingested}, list(entries), statements=seal(statements, self._evidence_key))
        await bus.publish_at(self.client, CUSTOMER_STREAM, number, encode(unit))
        return Position(log="customer", number=number)

    async def founded(self, *identifiers: Identifier, to: str = "") -> tuple[str, Position]:
        """A new customer, or the one that is named, with these identifiers, and what to wait for."""
        customer = _bytes(to) if to else os.urandom(16)
        linked = [
            events.IdentifierLinked(namespace=it.namespace, value_hash=self.hash_of(it), cause=os.urandom(16)) for it in identifiers
        ]
        position = await self.publish(
            _entry(events.FOUNDED, customer, events.CustomerFounded(founding_number=0)),
            *(_entry(events.LINKED, customer, link) for link in linked),
        )
        return to_text(customer), position

    def hash_of(self, identifier: Identifier) -> bytes:
        return hash_of(normalise(identifier.namespace, identifier.value), self._key)

    async def decide(self, identifier: Identifier, purpose: str, outcome: int, **more: Any) -> pb.RecordDecisionResponse:
        timeout = more.pop("timeout", DEADLINE_S)
        request_id = more.pop("request_id", None) or str(uuid4())
        answer: pb.RecordDecisionResponse = await self.calls.RecordDecision(
            pb.RecordDecisionRequest(request_id=request_id, identifier=identifier, purpose=purpose, outcome=outcome, **more),  # type: ignore[arg-type]
            timeout=timeout,
        )
        return answer

    async def define_purpose(self, name: str, request_id: str = "", **fields: Any) -> registry.DefineResponse:
        """A purpose."""
        definition = registry.Definition(name=name, defined_by="ops", reason="asked", purpose=registry.Purpose(**fields))
        request = registry.DefineRequest(request_id=request_id or str(uuid4()), definition=definition)
        answer: registry.DefineResponse = await self.registry.Define(request, timeout=DEADLINE_S)
        return answer

    async def personal_purpose(self) -> str:
        """A new one that asks for consent, decided about by the person."""
        name = f"personal_{uuid4().hex}"
        await self.define_purpose(name, legal_basis=registry.LEGAL_BASIS_CONSENT, traits=["email"])
        return name

    async def check(self, purpose: str, *fresh: Position, **by: Any) -> pb.CheckResponse:
        request = pb.CheckRequest(purpose=purpose, customer=CustomerRef(**by), at_least_as_fresh=fresh)
        answer: pb.CheckResponse = await self.calls.Check(request, timeout=DEADLINE_S)
        return answer

    async def decisions(self, identifier: Identifier) -> list[pb.Decision]:
        answer = await self.calls.ListDecisions(pb.ListDecisionsRequest(identifier=identifier), timeout=DEADLINE_S)
        return list(answer.decisions)


def merged(one: str, two: str, *, likely: bool = False) -> list[Entry]:
    """An edge, as identity writes it: to both streams."""
    a, b = _bytes(one), _bytes(two)
    merge = os.urandom(16)
    return [
        _entry(
            events.MERGED,
            stream,
            events.CustomersMerged(merge_id=merge, other=other, other_founding_number=0, cause=os.urandom(16), likely=likely),
        )
        for stream, other in ((a, b), (b, a))
    ]


def split(edge: list[Entry]) -> list[Entry]:
    """Takes an edge of `merged` back."""
    return [
        _entry(
            events.SPLIT,
            entry.stream,
            events.CustomersSplit(merge_id=entry.public().merge_id, other=entry.public().other, cause=os.urandom(16)),
        )
        for entry in edge
    ]


def linked(customer: str, value_hash: bytes) -> Entry:
    event = events.IdentifierLinked(namespace="email", value_hash=value_hash, cause=os.urandom(16))
    return _entry(events.LINKED, _bytes(customer), event)


def unlinked(customer: str, value_hash: bytes, *, shared: bool = False) -> Entry:
    event = events.IdentifierUnlinked(link_id=os.urandom(16), value_hash=value_hash, cause=os.urandom(16), shared=shared)
    return _entry(events.UNLINKED, _bytes(customer), event)


def an_unknown_entry(customer: str) -> Entry:
    """Of a type that only a later release knows."""
    return Entry(_bytes(customer), os.urandom(16), "customer.praised", 1, 0, b"\x81\xa1x\x01")


def _bytes(customer: str) -> bytes:
    return bytes.fromhex(customer.replace("-", ""))


def _entry(kind: Any, stream: bytes, public: Public) -> Entry:
    return make_entry(kind, stream, os.urandom(16), 0, public)


class Reader:
    """Serves under a lease; applies the consent log while `applying` is set."""

    def __init__(self, client: Client, name: str) -> None:
        self.applied = -1
        self.applying = asyncio.Event()
        self.applying.set()
        self.lease = Lease(client, name, lambda: self.applied, time.monotonic)
        self._follower = bus.Follower(client, CONSENT_STREAM, 0)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Reader":
        self._tasks = [asyncio.create_task(self.lease.run()), asyncio.create_task(self._follow())]
        await until(self._holds)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.fall_silent()
        await self._follower.close()
        await self.lease.leave()

    async def fall_silent(self) -> None:
        await end(self._tasks)

    async def _holds(self) -> bool:
        return self.lease.holds()

    async def _follow(self) -> None:
        while True:
            messages = await self._follower.take()
            await self.applying.wait()
            self.applied = decode_unit(messages[-1].data).number
            self.lease.renew()


async def refusal_in_time(ask: Callable[..., Awaitable[Any]]) -> tuple[str, str]:
    """Of a call that waits for what doesn't come. Its reason comes a tenth ahead of the deadline: on a busy machine a longer one is asked."""
    status, reason = "", ""
    for timeout_s in WAITS_S:
        status, reason = await refusal(ask(timeout=timeout_s))
        if reason:
            break
    return status, reason


async def refusal(call: Awaitable[Any]) -> tuple[str, str]:
    """(status, reason) of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code().name, reason_of(raised.value)
