"""Of two identity processes both answer look-ups, none that is older than was asked for, and also while one takes over from the other."""

import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.identity.v1 import identity_pb2 as pb
from c360.identity.v1 import identity_pb2_grpc
from c360.ingest.v1 import ingest_pb2
from google.protobuf.struct_pb2 import Struct

from services.stack.ports import HOST, processes_of
from services.stack.probe import is_serving
from services.stack.stack import Stack
from shared.health import LOOKUPS, LOOKUPS_BY_HEALTH
from shared.rpc.errors import reason_of
from tests.e2e.client import CHANNEL_OPTIONS, DEADLINE_S, Platform
from tests.e2e.test_doctor import findings, said
from tests.live.command import Command
from tests.stacks import fresh_stack
from tests.waiting import eventually

PROCESSES = processes_of("identity", 2)
TAKEOVER_S = 60.0
OPTIONS = [
    *CHANNEL_OPTIONS,
    ("grpc.service_config", LOOKUPS_BY_HEALTH),
]


class Pair:
    """Two identity processes, each asked by itself, by somebody who proves who they are."""

    def __init__(self, stack: Stack, stay: ExitStack) -> None:
        self.stack = stack
        self.key = stack.write_key()
        token = (stack.data_directory / "secrets" / "operator-token").read_text().strip()
        self._metadata: tuple[tuple[str, str | bytes], ...] = (("authorization", f"Bearer {token}"),)
        self._platform = stay.enter_context(Platform(stack.endpoints))
        self._calls = {}
        for name in PROCESSES:
            channel = stay.enter_context(grpc.insecure_channel(self.address(name), options=OPTIONS))
            self._calls[name] = identity_pb2_grpc.IdentityServiceStub(channel)

    def address(self, name: str) -> str:
        return f"{HOST}:{self.stack.ports[name]}"

    @property
    def owner(self) -> str:
        eventually(lambda: self.stack.serving("identity") is not None, TAKEOVER_S)
        return str(self.stack.serving("identity"))

    @property
    def standby(self) -> str:
        owner = self.owner
        return next(name for name in PROCESSES if name != owner)

    def somebody(self) -> tuple[Identifier, Position]:
        """Who is new, and where it is known."""
        email, traits = f"{uuid.uuid4().hex}@example.com", Struct()
        traits.update({"email": email})
        event = ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=email, traits=traits)
        return Identifier(namespace="email", value=email), self._platform.record(self.key, event).position

    def resolve(self, name: str, who: Identifier, fresh: Position | None = None, timeout_s: float = DEADLINE_S) -> str:
        request = pb.ResolveIdentifierRequest(identifier=who, at_least_as_fresh=fresh)
        answer = self._calls[name].ResolveIdentifier(request, timeout=timeout_s, metadata=self._metadata, wait_for_ready=True)
        return str(answer.customer_id)

    def members(self, name: str, customer_id: str) -> list[str]:
        request = pb.GetCustomerRequest(customer_id=customer_id)
        answer = self._calls[name].GetCustomer(request, timeout=DEADLINE_S, metadata=self._metadata)
        return list(answer.customer.member_ids)

    def proposals(self, name: str, who: Identifier) -> int:
        request = pb.ListProposalsRequest(customer=CustomerRef(identifier=who))
        return len(self._calls[name].ListProposals(request, timeout=DEADLINE_S, metadata=self._metadata).proposals)

    def erasure(self, name: str) -> pb.GetErasureResponse:
        request = pb.GetErasureRequest(request_id=str(uuid.uuid4()))
        return self._calls[name].GetErasure(request, timeout=DEADLINE_S, metadata=self._metadata)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with fresh_stack(services=("ingest", "identity", "consent"), replicas=2, auth="jwt") as stack, ExitStack() as stay:
        yield Pair(stack, stay)


def test_both_answer_alike(pair: Pair) -> None:
    who, position = pair.somebody()
    [customer] = {pair.resolve(name, who, position) for name in PROCESSES}
    assert [pair.members(name, customer) for name in PROCESSES] == [[customer]] * 2
    assert [pair.proposals(name, who) for name in PROCESSES] == [0] * 2


def test_who_stands_by_says_so_and_answers_nothing_else(pair: Pair) -> None:
    standby = pair.standby
    assert is_serving(pair.address(standby), name=LOOKUPS)
    assert not is_serving(pair.address(standby))
    assert is_serving(pair.address(pair.owner), name=LOOKUPS)
    with pytest.raises(grpc.RpcError) as refused:
        pair.erasure(standby)
    assert reason_of(refused.value) == "STANDBY"


def test_nothing_is_answered_that_is_older_than_asked_for(pair: Pair) -> None:
    """Each is new, and asked for as soon as it is acknowledged."""
    standby = pair.standby
    for _ in range(100):
        who, position = pair.somebody()
        assert pair.resolve(standby, who, position)


def test_what_is_not_there_yet_is_waited_for_as_long_as_the_caller_waits(pair: Pair) -> None:
    who, position = pair.somebody()
    later = Position(log=position.log, partition=position.partition, number=position.number + 1_000_000)
    with pytest.raises(grpc.RpcError) as refused:
        pair.resolve(pair.standby, who, later, timeout_s=2)
    assert reason_of(refused.value) == "NOT_FRESH_ENOUGH"


def test_whom_nobody_knows_is_told_by_both(pair: Pair) -> None:
    for name in PROCESSES:
        with pytest.raises(grpc.RpcError) as refused:
            pair.resolve(name, Identifier(namespace="email", value="nobody@example.com"))
        assert reason_of(refused.value) == "IDENTIFIER_UNKNOWN"


def test_it_answers_while_it_takes_over(pair: Pair) -> None:
    who, position = pair.somebody()
    owner, standby = pair.owner, pair.standby
    customer = pair.resolve(standby, who, position)
    over = False

    def ask() -> int:
        asked = 0
        while not over:
            assert pair.resolve(standby, who) == customer
            asked += 1
        return asked

    with ThreadPoolExecutor() as threads:
        asking = threads.submit(ask)
        try:
            pair.stack.take_down(owner, signal.SIGKILL)
            eventually(lambda: pair.stack.serving("identity") == standby, TAKEOVER_S)
            later, then = pair.somebody()
            assert pair.resolve(standby, later, then)
        finally:
            over = True
        assert asking.result(DEADLINE_S) > 0
    pair.stack.bring_up(owner)
    pair.stack.wait_ready(owner)
    assert pair.resolve(owner, later, then), "who stands by now"


def test_the_doctor_calls_each_what_it_is(pair: Pair) -> None:
    command, standby = Command(pair.stack.data_directory), pair.standby
    command.environment["C360_IDENTITY_ADDRESS"] = pair.address(standby)
    assert "stands by for another one" in said(findings(command), "identity", "unseen")
    del command.environment["C360_IDENTITY_ADDRESS"]
    assert said(findings(command), "identity") == ""
    pair.stack.take_down(standby, signal.SIGKILL)
    eventually(lambda: f"{pair.address(standby)} neither serves nor stands by" in said(findings(command), "identity"), TAKEOVER_S)
    pair.stack.bring_up(standby)
    pair.stack.wait_ready(standby)
    eventually(lambda: said(findings(command), "identity") == "", TAKEOVER_S)
