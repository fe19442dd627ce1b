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

from services.stack.probe import is_serving
from services.stack.stack import Stack
from shared.health import LOOKUPS, LOOKUPS_BY_HEALTH
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S
from tests.e2e.pairs import TAKEOVER_S, Processes
from tests.e2e.test_doctor import findings, said
from tests.live.command import Command
from tests.stacks import fresh_stack
from tests.waiting import eventually


class Pair(Processes):
    def __init__(self, stack: Stack, stay: ExitStack) -> None:
        super().__init__(stack, stay, "identity", LOOKUPS_BY_HEALTH)
        self._calls = {name: identity_pb2_grpc.IdentityServiceStub(channel) for name, channel in self.channels.items()}

    def resolve(self, name: str, who: Identifier, fresh: Position | None = None, timeout_s: float = DEADLINE_S) -> str:
        request = pb.ResolveIdentifierRequest(identifier=who, at_least_as_fresh=fresh)
        answer = self._calls[name].ResolveIdentifier(request, timeout=timeout_s, metadata=self.metadata, wait_for_ready=True)
        return str(answer.customer_id)

    def members(self, name: str, customer_id: str) -> list[str]:
        request = pb.GetCustomerRequest(customer_id=customer_id)
        answer = self._calls[name].GetCustomer(request, timeout=DEADLINE_S, metadata=self.metadata)
        return list(answer.customer.member_ids)

    def proposals(self, name: str, who: Identifier) -> int:
        request = pb.ListProposalsRequest(customer=CustomerRef(identifier=who))
        return len(self._calls[name].ListProposals(request, timeout=DEADLINE_S, metadata=self.metadata).proposals)

    def erasure(self, name: str) -> pb.GetErasureResponse:
        request = pb.GetErasureRequest(request_id=str(uuid.uuid4()))
        return self._calls[name].GetErasure(request, timeout=DEADLINE_S, metadata=self.metadata)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with fresh_stack(services=("ingest", "identity", "consent"), replicas=2, auth="jwt") as stack, ExitStack() as stay:
        yield Pair(stack, stay)


def test_both_answer_alike(pair: Pair) -> None:
    who, position = pair.somebody()
    [customer] = {pair.resolve(name, who, position) for name in pair.names}
    assert [pair.members(name, customer) for name in pair.names] == [[customer]] * 2
    assert [pair.proposals(name, who) for name in pair.names] == [0] * 2


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
    for name in pair.names:
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
