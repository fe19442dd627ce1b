"""Of two consent processes both answer checks: none goes by less than was decided and answered before, and also while one takes over."""

import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import consent_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.stack.probe import is_serving
from services.stack.stack import Stack
from shared.health import READS, READS_BY_HEALTH
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S
from tests.e2e.pairs import TAKEOVER_S, Processes
from tests.stacks import fresh_stack
from tests.waiting import eventually

DECISIONS = 40


class Pair(Processes):
    def __init__(self, stack: Stack, stay: ExitStack) -> None:
        super().__init__(stack, stay, "consent", READS_BY_HEALTH)
        self._calls = {name: consent_pb2_grpc.ConsentServiceStub(channel) for name, channel in self.channels.items()}
        self.purpose = self.platform.define_purpose("email")

    def decide(self, who: Identifier, outcome: pb.Outcome.ValueType) -> Position:
        request = pb.RecordDecisionRequest(
            request_id=uuid.uuid4().hex, identifier=who, purpose=self.purpose, outcome=outcome, method="test"
        )
        answer: pb.RecordDecisionResponse = self.platform.consent.RecordDecision(request, timeout=DEADLINE_S, wait_for_ready=True)
        return answer.position

    def check(self, name: str, who: CustomerRef, fresh: Position | None = None, known_at: float | None = None) -> bool:
        request = pb.CheckRequest(customer=who, purpose=self.purpose, at_least_as_fresh=[fresh] if fresh else [])
        if known_at is not None:
            request.known_at.CopyFrom(Timestamp(seconds=int(known_at), nanos=int(known_at % 1 * 1e9)))
        answer = self._calls[name].Check(request, timeout=DEADLINE_S, metadata=self.metadata, wait_for_ready=True)
        return bool(answer.permitted)

    def listed(self, name: str, who: Identifier) -> list[pb.Outcome.ValueType]:
        request = pb.ListDecisionsRequest(identifier=who)
        return [
            one.outcome for one in self._calls[name].ListDecisions(request, timeout=DEADLINE_S, metadata=self.metadata).decisions
        ]

    def filtered(self, name: str, people: list[CustomerRef]) -> list[int]:
        request = pb.FilterAudienceRequest(purpose=self.purpose, customers=people)
        answers = self._calls[name].FilterAudience(iter([request]), timeout=DEADLINE_S, metadata=self.metadata)
        return list(next(answers).permitted)

    def record_at(self, name: str, who: Identifier) -> pb.RecordDecisionResponse:
        request = pb.RecordDecisionRequest(request_id=uuid.uuid4().hex, identifier=who, purpose=self.purpose)
        return self._calls[name].RecordDecision(request, timeout=DEADLINE_S, metadata=self.metadata)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with fresh_stack(services=("ingest", "identity", "consent"), replicas=2, auth="jwt") as stack, ExitStack() as stay:
        yield Pair(stack, stay)


def by(who: Identifier) -> CustomerRef:
    return CustomerRef(identifier=who)


def test_what_was_decided_and_answered_counts_at_both_from_the_next_check_on(pair: Pair) -> None:
    who, _ = pair.somebody()
    for number in range(DECISIONS):
        grants = number % 2 == 0
        pair.decide(who, pb.OUTCOME_GRANTED if grants else pb.OUTCOME_WITHDRAWN)
        assert [pair.check(name, by(who)) for name in pair.names] == [grants] * 2
        assert [pair.filtered(name, [by(who)]) for name in pair.names] == [[0] if grants else []] * 2
    assert [len(pair.listed(name, who)) for name in pair.names] == [DECISIONS] * 2


def test_nothing_is_answered_that_is_older_than_asked_for(pair: Pair) -> None:
    """Of each an address has granted, and then an event says which account has it: asked to know of that, the account is permitted."""
    standby = pair.standby
    for _ in range(20):
        email = f"{uuid.uuid4().hex}@example.com"
        pair.decide(Identifier(namespace="email", value=email), pb.OUTCOME_GRANTED)
        _, position = pair.said(email)
        assert pair.check(standby, by(Identifier(namespace="user_id", value=email)), position)


def test_who_stands_by_says_so_and_records_nothing(pair: Pair) -> None:
    standby = pair.standby
    eventually(lambda: is_serving(pair.address(standby), name=READS), DEADLINE_S)
    assert not is_serving(pair.address(standby))
    assert is_serving(pair.address(pair.owner), name=READS)
    with pytest.raises(grpc.RpcError) as refused:
        pair.record_at(standby, pair.somebody()[0])
    assert reason_of(refused.value) == "STANDBY"


def test_what_was_known_at_an_instant_is_told_alike_again_and_not_without_the_owner(pair: Pair) -> None:
    who, _ = pair.somebody()
    owner, standby = pair.owner, pair.standby
    instants = []
    for outcome in (pb.OUTCOME_GRANTED, pb.OUTCOME_WITHDRAWN) * 5:
        pair.decide(who, outcome)
        instants.append((time.time(), outcome == pb.OUTCOME_GRANTED))
        assert pair.check(standby, by(who), known_at=instants[-1][0]) is instants[-1][1]
    for instant, granted in instants:
        assert [pair.check(name, by(who), known_at=instant) for name in pair.names] == [granted] * 2
    pair.stack.take_down(owner, signal.SIGKILL)
    try:
        with pytest.raises(grpc.RpcError) as refused:
            pair.check(standby, by(who), known_at=instants[0][0])
        assert reason_of(refused.value) == "STANDBY"
    finally:
        pair.stack.bring_up(owner)
    eventually(lambda: pair.stack.serving("consent") is not None, TAKEOVER_S)
    pair.stack.wait_ready(owner)
    assert pair.check(standby, by(who), known_at=instants[0][0])


def test_it_answers_while_it_takes_over(pair: Pair) -> None:
    who, _ = pair.somebody()
    pair.decide(who, pb.OUTCOME_WITHDRAWN)
    owner, standby, over = pair.owner, pair.standby, False

    def ask() -> int:
        asked = 0
        while not over:
            assert not pair.check(standby, by(who))
            asked += 1
        return asked

    with ThreadPoolExecutor() as threads:
        asking = threads.submit(ask)
        try:
            pair.stack.take_down(owner, signal.SIGKILL)
            eventually(lambda: pair.stack.serving("consent") == standby, TAKEOVER_S)
        finally:
            over = True
        assert asking.result(DEADLINE_S) > 0
    pair.stack.bring_up(owner)
    pair.stack.wait_ready(owner)
    pair.decide(who, pb.OUTCOME_GRANTED)
    assert [pair.check(name, by(who)) for name in pair.names] == [True] * 2
