"""Of two profile processes both answer reads: none is older than asked for, none goes unrecorded, and a withdrawal that was answered
holds at both from the next read on; also while one takes over from the other."""

import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2
from c360.identity.v1 import identity_pb2
from c360.profile.v1 import disclosure_pb2, disclosure_pb2_grpc, history_pb2, history_pb2_grpc, profile_pb2_grpc
from c360.profile.v1 import profile_pb2 as pb

from services.stack.probe import is_serving
from services.stack.stack import Stack
from shared.health import READS, READS_BY_HEALTH
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, timestamp
from tests.e2e.pairs import TAKEOVER_S, Processes
from tests.stacks import fresh_stack
from tests.waiting import eventually

POLL_S = 0.02


class Pair(Processes):
    def __init__(self, stack: Stack, stay: ExitStack) -> None:
        super().__init__(stack, stay, "profile", READS_BY_HEALTH)
        self.calls = {name: profile_pb2_grpc.ProfileServiceStub(channel) for name, channel in self.channels.items()}
        self.history = {name: history_pb2_grpc.HistoryServiceStub(channel) for name, channel in self.channels.items()}
        self.disclosed = {name: disclosure_pb2_grpc.DisclosureServiceStub(channel) for name, channel in self.channels.items()}
        self.purpose = self.platform.define_purpose("city", "email")

    def ask(self, name: str, method: str, request: Any, request_id: str = "", timeout_s: float = DEADLINE_S) -> Any:
        """What is refused because consent isn't heard just then, on a busy machine, is asked again."""
        metadata = (*self.metadata, ("x-request-id", request_id)) if request_id else self.metadata
        stub = self.history[name] if hasattr(self.history[name], method) else self.calls[name]
        give_up_at = time.monotonic() + timeout_s
        while True:
            try:
                return getattr(stub, method)(request, timeout=timeout_s, metadata=metadata, wait_for_ready=True)
            except grpc.RpcError as error:
                if reason_of(error) != "CONSENT_NOT_CONFIRMED" or time.monotonic() > give_up_at:
                    raise
                time.sleep(POLL_S)

    def city(self, name: str, who: Identifier, *fresh: Position, known_at: datetime | None = None, request_id: str = "") -> str:
        """Or the reason why it isn't told."""
        request = pb.GetProfileRequest(
            customer=CustomerRef(identifier=who),
            purpose=self.purpose,
            at_least_as_fresh=fresh,
            known_at=timestamp(known_at),
        )
        try:
            answer = self.ask(name, "GetProfile", request, request_id)
        except grpc.RpcError as error:
            return reason_of(error)
        return str(answer.profile.traits["city"].value.string_value)

    def decide(self, who: Identifier, outcome: consent_pb2.Outcome.ValueType) -> int:
        """How many readers enforce it."""
        return int(self.platform.decide(who, self.purpose, outcome, uuid.uuid4().hex).enforcing_readers)

    def granted(self) -> tuple[Identifier, Position]:
        who, position = self.somebody(city="Hull")
        self.decide(who, consent_pb2.OUTCOME_GRANTED)
        return who, position

    def reads_of(self, who: Identifier) -> list[disclosure_pb2.Disclosure]:
        """As the one that serves tells them."""
        found, token, calls = list[disclosure_pb2.Disclosure](), "", self.disclosed[self.owner]
        while True:
            request = disclosure_pb2.WhoReadRequest(customer=CustomerRef(identifier=who), page_size=500, page_token=token)
            page = calls.WhoRead(request, timeout=DEADLINE_S, metadata=self.metadata, wait_for_ready=True)
            found += page.disclosures
            if not (token := page.next_page_token):
                return found

    def follows_again(self, disclosure_id: str) -> bool:
        request = disclosure_pb2.RederiveDisclosureRequest(disclosure_id=disclosure_id)
        calls = self.disclosed[self.owner]
        return bool(calls.RederiveDisclosure(request, timeout=DEADLINE_S, metadata=self.metadata).agrees)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    services = ("ingest", "identity", "profile", "consent")
    with fresh_stack(services=services, replicas=2, auth="jwt") as stack, ExitStack() as stay:
        pair = Pair(stack, stay)
        eventually(lambda: is_serving(pair.address(pair.standby), name=READS), TAKEOVER_S)
        yield pair


def test_both_answer_alike_whatever_is_asked(pair: Pair) -> None:
    who, position = pair.granted()
    pair.city(pair.standby, who, position)
    before = datetime.now(UTC)
    _, position = pair.said(who.value, city="York")
    pair.city(pair.standby, who, position)
    customer: dict[str, Any] = {"customer": CustomerRef(identifier=who), "purpose": pair.purpose, "at_least_as_fresh": [position]}
    query = pb.ProfileQuery(customer=CustomerRef(identifier=who))
    batch: dict[str, Any] = {"queries": [query], "purpose": pair.purpose, "at_least_as_fresh": [position]}
    old, new = (history_pb2.Point(known_at=timestamp(one)) for one in (before, datetime.now(UTC)))
    for method, request in (
        ("GetProfile", pb.GetProfileRequest(**customer)),
        ("LookupCustomer", pb.LookupCustomerRequest(**customer)),
        ("ListIdentifiers", pb.ListIdentifiersRequest(**customer)),
        ("ListMembers", pb.ListMembersRequest(**customer)),
        ("GetTimeline", pb.GetTimelineRequest(**customer)),
        ("BatchGetProfiles", pb.BatchGetProfilesRequest(**batch)),
        ("ListProfileChanges", history_pb2.ListProfileChangesRequest(**customer)),
        ("DiffProfile", history_pb2.DiffProfileRequest(**customer, old=old, new=new)),
    ):
        one, other = (pair.ask(name, method, request) for name in pair.names)
        assert one.ListFields(), method
        assert one == other, method


def test_nothing_is_answered_that_is_older_than_asked_for(pair: Pair) -> None:
    who, _ = pair.granted()
    standby = pair.standby
    for number in range(50):
        _, position = pair.said(who.value, city=f"city {number}")
        assert pair.city(standby, who, position) == f"city {number}"
        assert pair.city(standby, who) == f"city {number}", "nor afterwards, though nothing is asked for"


def test_a_withdrawal_that_was_answered_holds_at_both_from_the_next_read_on(pair: Pair) -> None:
    who, position = pair.granted()
    for name in pair.names:
        pair.city(name, who, position)
    for number in range(20):
        pair.decide(who, consent_pb2.OUTCOME_WITHDRAWN)
        assert [pair.city(name, who) for name in pair.names] == ["CONSENT_WITHDRAWN"] * 2
        pair.decide(who, consent_pb2.OUTCOME_GRANTED)
        for _ in range(3):  # one that is ready, too
            assert [pair.city(name, who) for name in pair.names] == ["Hull"] * 2, number


class Eager(threading.Thread):
    """Reads on and on at one process. As long as `forbidden` is the same number, and not 0, no read that begins is permitted."""

    def __init__(self, pair: Pair, name: str, who: Identifier) -> None:
        super().__init__()
        self.done = threading.Event()
        self.forbidden, self.told, self.wrongly = 0, 0, 0
        self._pair, self._name, self._who = pair, name, who

    def run(self) -> None:
        while not self.done.is_set():
            forbidden = self.forbidden
            told = self._pair.city(self._name, self._who)
            self.told += told == "Hull"
            self.wrongly += told == "Hull" and forbidden == self.forbidden > 0


def test_a_withdrawal_holds_at_both_though_they_are_read_all_the_time(pair: Pair) -> None:
    who, position = pair.granted()
    for name in pair.names:
        pair.city(name, who, position)
    readers = [Eager(pair, name, who) for name in pair.names for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        enforcing = set()
        for number in range(1, 16):
            enforcing.add(pair.decide(who, consent_pb2.OUTCOME_WITHDRAWN))
            for reader in readers:
                reader.forbidden = number
            assert [pair.city(name, who) for name in pair.names] == ["CONSENT_WITHDRAWN"] * 2
            for reader in readers:
                reader.forbidden = 0
            pair.decide(who, consent_pb2.OUTCOME_GRANTED)
            assert [pair.city(name, who) for name in pair.names] == ["Hull"] * 2
        assert max(enforcing) == 2, "who stands by is waited for as well"
    finally:
        for reader in readers:
            reader.done.set()
        for reader in readers:
            reader.join()
    assert all(reader.told for reader in readers)
    assert [reader.wrongly for reader in readers] == [0] * 4


def test_who_is_erased_is_told_by_nobody(pair: Pair) -> None:
    who, position = pair.granted()
    assert [pair.city(name, who, position) for name in pair.names] == ["Hull"] * 2
    customer = CustomerRef(customer_id=pair.platform.resolve("email", who.value, position).customer_id)
    request = identity_pb2.EraseCustomerRequest(
        request_id=str(uuid.uuid4()),
        customer=customer,
        policy=identity_pb2.REIMPORT_POLICY_REFUSE,
        reason="asked",
        requested_by="ops",
    )
    pair.platform.identity.EraseCustomer(request, timeout=DEADLINE_S)
    asked = pb.GetProfileRequest(customer=customer, purpose=pair.purpose)

    def refused(name: str) -> bool:
        try:
            pair.ask(name, "GetProfile", asked)
        except grpc.RpcError as error:
            return reason_of(error) == "CUSTOMER_ERASED"
        return False

    for name in pair.names:
        eventually(partial(refused, name), TAKEOVER_S)


def test_each_read_is_written_down_and_follows_again_from_its_record(pair: Pair) -> None:
    who, position = pair.granted()
    answered = set()
    for number in range(20):
        _, position = pair.said(who.value, city=f"city {number}")
        for name in pair.names:
            for fresh in ((position,), (), ()):
                request_id = str(uuid.uuid4())
                assert pair.city(name, who, *fresh, request_id=request_id)
                answered.add(request_id)
    written = {one.request_id: one for one in pair.reads_of(who)}
    assert answered <= written.keys()
    assert [one.request_id for one in written.values() if not pair.follows_again(one.disclosure_id)] == []


def test_who_stands_by_answers_nothing_that_it_would_have_to_write(pair: Pair) -> None:
    standby = pair.standby
    assert not is_serving(pair.address(standby))
    assert is_serving(pair.address(pair.owner), name=READS)
    request = disclosure_pb2.WhoReadRequest(customer=CustomerRef(identifier=pair.somebody()[0]))
    with pytest.raises(grpc.RpcError) as refused:
        pair.disclosed[standby].WhoRead(request, timeout=DEADLINE_S, metadata=pair.metadata)
    assert reason_of(refused.value) == "STANDBY"


def test_what_was_known_at_an_instant_is_told_alike_by_both(pair: Pair) -> None:
    who, position = pair.granted()
    pair.city(pair.standby, who, position)
    told = []
    for number in range(10):
        _, position = pair.said(who.value, city=f"city {number}")
        pair.city(pair.owner, who, position)
        told.append((datetime.now(UTC), f"city {number}"))
        assert pair.city(pair.standby, who, known_at=told[-1][0]) == told[-1][1]
    for instant, city in told:
        assert [pair.city(name, who, known_at=instant) for name in pair.names] == [city] * 2


class Reading(threading.Thread):
    """Reads on and on at one process, as fresh as what was said last, and notes what it was told."""

    def __init__(self, pair: Pair, name: str, who: Identifier) -> None:
        super().__init__()
        self.answered: list[str] = []
        self.older: list[str] = []
        self.said: tuple[int, tuple[Position, ...]] = (0, ())
        self.done = threading.Event()
        self._pair, self._name, self._who = pair, name, who

    def run(self) -> None:
        while not self.done.is_set():
            (number, fresh), request_id = self.said, str(uuid.uuid4())
            try:
                told = self._pair.city(self._name, self._who, *fresh, request_id=request_id)
            except grpc.RpcError:
                continue
            if told.isdigit():
                self.answered.append(request_id)
                if int(told) < number:
                    self.older.append(f"{told} for {number}")
            else:
                time.sleep(POLL_S)


def test_reads_go_on_while_one_takes_over(pair: Pair) -> None:
    who, _ = pair.granted()
    _, position = pair.said(who.value, city="0")
    readers = {name: Reading(pair, name, who) for name in pair.names}
    for reader in readers.values():
        reader.said = (0, (position,))
        reader.start()
    owner, standby = pair.owner, pair.standby
    try:
        for number in range(1, 30):
            _, position = pair.said(who.value, city=f"{number}")
            for reader in readers.values():
                reader.said = (number, (position,))
            if number == 10:
                pair.stack.take_down(owner, signal.SIGKILL)
        eventually(lambda: pair.stack.serving("profile") == standby, TAKEOVER_S)
        assert pair.city(standby, who, position) == "29"
        pair.stack.bring_up(owner)
        pair.stack.wait_ready(owner)
        eventually(lambda: is_serving(pair.address(owner), name=READS), TAKEOVER_S)
        assert pair.city(owner, who, position) == "29"
        pair.decide(who, consent_pb2.OUTCOME_WITHDRAWN)
        assert [pair.city(name, who) for name in pair.names] == ["CONSENT_WITHDRAWN"] * 2
    finally:
        for reader in readers.values():
            reader.done.set()
        for reader in readers.values():
            reader.join()
    written = Counter(one.request_id for one in pair.reads_of(who))
    for reader in readers.values():
        assert reader.older == []
        assert reader.answered
        assert [one for one in reader.answered if one not in written] == []
