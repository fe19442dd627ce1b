"""Laws of rights requests: nothing is done for whom nobody checked, terms are extended in time, and history alone says what is."""

from datetime import date, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain import rights
from services.consent.domain.rights import (
    EVENT_TYPES,
    OPEN,
    RightsRequest,
    Step,
    Today,
    decide,
    evolve,
    fold,
    receive,
    says_the_same,
)
from services.consent.domain.rights_commands import (
    Acknowledge,
    AnyStep,
    Begin,
    CheckIdentity,
    Extend,
    Fulfil,
    Receive,
    Refuse,
    Withdraw,
)
from shared.errors import CustomerError
from shared.events import rights as events
from shared.events.catalogue import encode
from shared.events.rights import Law, Right

DAY = date(2026, 3, 5)
SAID: dict[str, Any] = {"by": "desk", "reason": "asked"}
RIGHTS = st.sampled_from(get_args(Right))
LAWS = st.sampled_from(get_args(Law))
ON = st.none() | st.dates(DAY - timedelta(3), DAY + timedelta(200))


def on(day: date) -> Today:
    return Today(day, day)


def commands() -> st.SearchStrategy[AnyStep]:
    said = {"request_id": st.sampled_from("abcdefgh"), "by": st.just("desk"), "reason": st.just("asked")}
    proofs = st.sampled_from([b"", b"p" * 32])
    return st.one_of(
        st.builds(Acknowledge, **said, told_on=ON),
        st.builds(CheckIdentity, **said, passed=st.booleans(), method=st.just("signed-in")),
        st.builds(Extend, **said, told_on=ON),
        st.builds(Begin, **said),
        st.builds(Fulfil, **said, references=st.just(("r",)), proof_sha256=proofs),
        st.builds(Refuse, **said, ground=st.sampled_from(["identity_not_proven", "excessive"])),
        st.builds(Withdraw, **said),
    )


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[Step], date]:
    """What was recorded of one request, whatever was asked of it, and the day after."""
    asked = Receive(request_id="open", identifier_hash=b"i" * 16, namespace="email", right=draw(RIGHTS), law=draw(LAWS), **SAID)
    duplicate_of = draw(st.sampled_from([b"", b"o" * 16]))
    steps: list[Step] = [receive(asked, duplicate_of, on(DAY))]
    today = DAY
    for command in draw(st.lists(commands(), max_size=12)):
        today += timedelta(draw(st.integers(0, 40)))
        try:
            steps.append(decide(fold(steps), command, on(today)))
        except CustomerError:
            continue
    return steps, today


def places(steps: list[Step], kind: type[Step]) -> list[int]:
    return [place for place, step in enumerate(steps) if isinstance(step, kind)]


@given(lives())
def test_nothing_is_done_without_a_check_that_passed_also_for_a_duplicate(life: tuple[list[Step], date]) -> None:
    steps, _ = life
    for place in places(steps, events.RightsRequestBegun) + places(steps, events.RightsRequestFulfilled):
        checks = [step for step in steps[:place] if isinstance(step, events.RightsRequestIdentityChecked)]
        assert checks, "it has one of its own"
        assert checks[-1].passed, "the last one counts"


@given(lives())
def test_it_is_answered_once_and_nothing_comes_after(life: tuple[list[Step], date]) -> None:
    steps, _ = life
    ends = (events.RightsRequestFulfilled, events.RightsRequestRefused, events.RightsRequestWithdrawn)
    closing = [place for place, step in enumerate(steps) if isinstance(step, ends)]
    assert closing in ([], [len(steps) - 1])
    assert (fold(steps).state in OPEN) is (not closing)
    for place in places(steps, events.RightsRequestFulfilled):
        assert places(steps[:place], events.RightsRequestBegun)
    for place in places(steps, events.RightsRequestWithdrawn):
        assert not places(steps[:place], events.RightsRequestBegun), "what is being done isn't taken back"


@given(lives())
def test_an_extension_is_told_within_the_first_term_and_once(life: tuple[list[Step], date]) -> None:
    steps, _ = life
    received = steps[0]
    assert isinstance(received, events.RightsRequestReceived)
    extended = [step for step in steps if isinstance(step, events.RightsRequestExtended)]
    assert len(extended) <= 1
    for step in extended:
        assert received.received_on <= step.told_on <= received.due_on < step.due_on
    assert fold(steps).due_on == (received.longest_on if extended else received.due_on)


@given(lives())
def test_what_is_handed_over_is_proven(life: tuple[list[Step], date]) -> None:
    steps, _ = life
    for step in steps:
        if isinstance(step, events.RightsRequestFulfilled) and fold(steps).received.right in rights.PROVEN:
            assert step.proof_sha256


@given(lives(), st.data())
def test_a_replay_gives_the_same(life: tuple[list[Step], date], data: st.DataObject) -> None:
    steps, _ = life
    cut = data.draw(st.integers(1, len(steps)))
    resumed: RightsRequest = fold(steps[:cut])
    for step in steps[cut:]:
        resumed = evolve(resumed, step)
    stored = [msgspec.msgpack.decode(encode(step), type=type(step)) for step in steps]
    assert resumed == fold(steps) == fold(stored)
    assert {type(step) for step in steps} <= EVENT_TYPES.keys()


@given(lives(), commands())
def test_a_command_knows_its_own_step_and_no_other(life: tuple[list[Step], date], command: AnyStep) -> None:
    steps, today = life
    try:
        step = decide(fold(steps), command, on(today))
    except CustomerError:
        return
    assert says_the_same(command, step)
    assert not says_the_same(msgspec.structs.replace(command, reason="another"), step)
    assert not says_the_same(command, steps[0])


@given(RIGHTS, LAWS, st.data())
def test_each_command_knows_its_own_step_wherever_it_may_stand(right: Right, law: Law, data: st.DataObject) -> None:
    """From each state a request is led to: what is repeated there is known again, whatever of it was left out."""
    asked = Receive(request_id="open", identifier_hash=b"i" * 16, namespace="email", right=right, law=law, **SAID)
    steps: list[Step] = [receive(asked, b"", on(DAY))]
    assert says_the_same(asked, steps[0])
    proof = b"p" * 32 if right in rights.PROVEN else data.draw(st.sampled_from([b"", b"p" * 32]))
    leading: list[AnyStep] = [
        Acknowledge(request_id="a", **SAID),
        CheckIdentity(request_id="c", passed=True, method="signed-in", **SAID),
        Begin(request_id="b", **SAID),
    ]
    if fold(steps).received.longest_on != fold(steps).due_on:
        leading.insert(data.draw(st.integers(0, 3)), Extend(request_id="e", **SAID))
    ending: list[AnyStep] = [
        Fulfil(request_id="f", references=("r",), proof_sha256=proof, **SAID),
        Refuse(request_id="r", ground="excessive", **SAID),
        Withdraw(request_id="w", **SAID),
    ]
    for command in leading:
        for end in ending[2:] if fold(steps).state != "begun" else ():
            assert says_the_same(end, decide(fold(steps), end, on(DAY)))
        steps.append(decide(fold(steps), command, on(DAY)))
        assert says_the_same(command, steps[-1])
    for end in ending[:2]:
        assert says_the_same(end, decide(fold(steps), end, on(DAY)))


@given(st.integers(0, 10**16), st.sampled_from(["Etc/GMT+12", "Etc/GMT-14", "America/Los_Angeles", "Asia/Kolkata"]))
def test_wherever_one_is_it_is_a_date_between(now: int, zone: str) -> None:
    today, local = Today.at(now), datetime.fromtimestamp(now / 1e6, ZoneInfo(zone)).date()
    assert today.earliest <= local <= today.latest <= today.earliest + timedelta(2)


def test_each_command_has_an_event_of_its_own() -> None:
    assert set(rights.OF_COMMAND.values()) == EVENT_TYPES.keys()


def a_request(**changes: Any) -> Receive:
    given = {"request_id": "r", "identifier_hash": b"i" * 16, "namespace": "email", "right": "access", "law": "gdpr"}
    return Receive(**(given | SAID | changes))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: a_request(by=""), "NAME_INVALID"),
        (lambda: a_request(reason="a\nb"), "REASON_INVALID"),
        (lambda: a_request(request_id=""), "REQUEST_ID_MISSING"),
        (lambda: CheckIdentity(request_id="r", passed=True, method="", **SAID), "METHOD_INVALID"),
        (lambda: Fulfil(request_id="r", references=(), **SAID), "REFERENCES_INVALID"),
        (lambda: Fulfil(request_id="r", references=("x",), proof_sha256=b"1", **SAID), "PROOF_INVALID"),
        (lambda: receive(a_request(received_on=DAY + timedelta(2)), b"", on(DAY)), "DAY_INVALID"),
        (lambda: receive(a_request(received_on=date(1999, 1, 1)), b"", on(DAY)), "DAY_INVALID"),
        (lambda: receive(a_request(calendar="XX"), b"", on(DAY)), "CALENDAR_UNKNOWN"),
    ],
)
def test_what_is_not_in_form_is_refused(make: Any, reason: str) -> None:
    with pytest.raises(CustomerError) as refused:
        make()
    assert refused.value.reason == reason
