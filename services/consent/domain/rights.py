"""What may become of a rights request. Pure: a command and the request's events so far in, an event or an error out.

received -> verified -> begun -> fulfilled
    |          |          '----> refused
    '----------'---------------> refused | withdrawn

The last check of identity counts, and a request that duplicates another needs one of its own.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from functools import reduce
from typing import Final, Literal

import msgspec

from services.consent.domain.rights_commands import (
    Acknowledge,
    AnyStep,
    Begin,
    CheckIdentity,
    Command,
    Extend,
    Fulfil,
    Receive,
    Refuse,
    Withdraw,
)
from services.consent.domain.terms import days_off, terms_of
from shared.errors import InvalidInput, WrongState
from shared.events import rights as events
from shared.events.catalogue import EventType
from shared.events.rights import Ground, Right
from shared.instants import EPOCH

State = Literal["received", "verified", "begun", "fulfilled", "refused", "withdrawn"]
Step = (
    events.RightsRequestReceived
    | events.RightsRequestAcknowledged
    | events.RightsRequestIdentityChecked
    | events.RightsRequestExtended
    | events.RightsRequestBegun
    | events.RightsRequestFulfilled
    | events.RightsRequestRefused
    | events.RightsRequestWithdrawn
)

EVENT_TYPES: Final[dict[type[Step], EventType]] = {
    events.RightsRequestReceived: events.RECEIVED,
    events.RightsRequestAcknowledged: events.ACKNOWLEDGED,
    events.RightsRequestIdentityChecked: events.IDENTITY_CHECKED,
    events.RightsRequestExtended: events.EXTENDED,
    events.RightsRequestBegun: events.BEGUN,
    events.RightsRequestFulfilled: events.FULFILLED,
    events.RightsRequestRefused: events.REFUSED,
    events.RightsRequestWithdrawn: events.WITHDRAWN,
}
OF_COMMAND: Final[dict[type[Command], type[Step]]] = {
    Receive: events.RightsRequestReceived,
    Acknowledge: events.RightsRequestAcknowledged,
    CheckIdentity: events.RightsRequestIdentityChecked,
    Extend: events.RightsRequestExtended,
    Begin: events.RightsRequestBegun,
    Fulfil: events.RightsRequestFulfilled,
    Refuse: events.RightsRequestRefused,
    Withdraw: events.RightsRequestWithdrawn,
}
LEADS_TO: Final[dict[type[Step], State]] = {
    events.RightsRequestBegun: "begun",
    events.RightsRequestFulfilled: "fulfilled",
    events.RightsRequestRefused: "refused",
    events.RightsRequestWithdrawn: "withdrawn",
}
OPEN: Final = frozenset[State]({"received", "verified", "begun"})
PROVEN: Final = frozenset[Right]({"access", "portability", "erasure"})  # something is handed over
WESTERNMOST: Final = timedelta(hours=12)  # of all clocks on earth the one that is furthest behind UTC
EASTERNMOST: Final = timedelta(hours=14)
OLDEST_DAYS: Final = 3_660  # a request that is recorded later than ten years after it came is a mistake


class RightsRequest(msgspec.Struct, frozen=True):
    """A fold of its events."""

    received: events.RightsRequestReceived
    state: State = "received"
    due_on: str = ""
    extended: bool = False
    acknowledged: bool = False


def evolve(request: RightsRequest | None, step: Step) -> RightsRequest:
    if isinstance(step, events.RightsRequestReceived):
        return RightsRequest(step, due_on=step.due_on)
    assert request is not None, "a request begins with its receipt"
    match step:
        case events.RightsRequestAcknowledged():
            return msgspec.structs.replace(request, acknowledged=True)
        case events.RightsRequestExtended():
            return msgspec.structs.replace(request, due_on=step.due_on, extended=True)
        case events.RightsRequestIdentityChecked():
            return msgspec.structs.replace(request, state="verified" if step.passed else "received")
        case _:
            return msgspec.structs.replace(request, state=LEADS_TO[type(step)])


def fold(steps: Iterable[Step]) -> RightsRequest:
    folded = reduce(evolve, steps, None)
    assert folded is not None, "it has been received"
    return folded


class Today(msgspec.Struct, frozen=True):
    """The dates that it is somewhere on earth: nobody's time zone is known."""

    earliest: date
    latest: date

    @staticmethod
    def at(now: int) -> "Today":
        moment = EPOCH + timedelta(microseconds=now)
        return Today((moment - WESTERNMOST).date(), (moment + EASTERNMOST).date())


def receive(command: Receive, duplicate_of: bytes, today: Today) -> events.RightsRequestReceived:
    """`duplicate_of`: one of the same identifier and right that is open. Raises InvalidInput (DAY_INVALID, CALENDAR_UNKNOWN)."""
    received_on = _day(command.received_on or today.earliest, today.earliest - timedelta(OLDEST_DAYS), today)
    terms = terms_of(command.law, command.right, received_on, days_off(command.calendar))
    return events.RightsRequestReceived(
        request_id=command.request_id,
        identifier_hash=command.identifier_hash,
        namespace=command.namespace,
        right=command.right,
        law=command.law,
        calendar=command.calendar,
        received_on=received_on.isoformat(),
        due_on=terms.due_on.isoformat(),
        longest_on=terms.longest_on.isoformat(),
        acknowledge_by=terms.acknowledge_by.isoformat() if terms.acknowledge_by else "",
        duplicate_of=duplicate_of,
        callback_urls=command.callback_urls,
        by=command.by,
        reason=command.reason,
    )


def decide(request: RightsRequest, command: AnyStep, today: Today) -> Step:
    """Raises WrongState (RIGHTS_REQUEST_CLOSED, IDENTITY_NOT_CHECKED, RIGHTS_REQUEST_BEGUN, RIGHTS_REQUEST_NOT_BEGUN, NOT_EXTENDABLE,
    ALREADY_ACKNOWLEDGED), InvalidInput (DAY_INVALID, PROOF_INVALID, GROUND_DOES_NOT_FIT)."""
    if request.state not in OPEN:
        raise WrongState("this request was answered or taken back", reason="RIGHTS_REQUEST_CLOSED", state=request.state)
    said = {"request_id": command.request_id, "by": command.by, "reason": command.reason}
    step: Step
    match command:
        case Acknowledge():
            step = events.RightsRequestAcknowledged(told_on=_acknowledged_on(request, command, today), **said)
        case CheckIdentity():
            _require_not_begun(request)
            step = events.RightsRequestIdentityChecked(passed=command.passed, method=command.method, **said)
        case Extend():
            told_on, due_on = _extended(request, command, today)
            step = events.RightsRequestExtended(told_on=told_on, due_on=due_on, **said)
        case Begin():
            _require_not_begun(request)
            _require_verified(request)
            step = events.RightsRequestBegun(**said)
        case Fulfil():
            _require_fulfilled(request, command)
            step = events.RightsRequestFulfilled(references=command.references, proof_sha256=command.proof_sha256, **said)
        case Refuse():
            _require_ground(request, command.ground)
            step = events.RightsRequestRefused(ground=command.ground, **said)
        case Withdraw():
            _require_not_begun(request)
            step = events.RightsRequestWithdrawn(**said)
    return step


def says_the_same(command: Receive | AnyStep, earlier: Step) -> bool:
    """Whether a step was recorded for this very command. A day that it doesn't name was today's at the first try."""
    said = msgspec.to_builtins(command, builtin_types=(bytes,))
    return type(earlier) is OF_COMMAND[type(command)] and all(
        value == msgspec.to_builtins(getattr(earlier, name), builtin_types=(bytes,))
        for name, value in said.items()
        if value is not None
    )


def _acknowledged_on(request: RightsRequest, command: Acknowledge, today: Today) -> str:
    if request.acknowledged:
        raise WrongState("the requester was told already that it came", reason="ALREADY_ACKNOWLEDGED")
    return _day(command.told_on or today.latest, date.fromisoformat(request.received.received_on), today).isoformat()


def _extended(request: RightsRequest, command: Extend, today: Today) -> tuple[str, str]:
    """When the requester was told, and until when it is extended: as long as the law gives."""
    longest_on = request.received.longest_on
    if request.extended or longest_on == request.due_on:
        raise WrongState("the law extends this term no further", reason="NOT_EXTENDABLE", due_on=request.due_on)
    told_on = _day(command.told_on or today.latest, date.fromisoformat(request.received.received_on), today).isoformat()
    if told_on > request.due_on:
        raise WrongState("the requester has to be told within the first term", reason="NOT_EXTENDABLE", due_on=request.due_on)
    return told_on, longest_on


def _require_verified(request: RightsRequest) -> None:
    if request.state != "verified":
        raise WrongState("nobody checked that the requester is the person, or it failed", reason="IDENTITY_NOT_CHECKED")


def _require_not_begun(request: RightsRequest) -> None:
    if request.state == "begun":
        raise WrongState("what was asked for is being done", reason="RIGHTS_REQUEST_BEGUN")


def _require_fulfilled(request: RightsRequest, command: Fulfil) -> None:
    if request.state != "begun":
        _require_verified(request)
        raise WrongState("begin it first: what is done for it is recorded ahead", reason="RIGHTS_REQUEST_NOT_BEGUN")
    if request.received.right in PROVEN and not command.proof_sha256:
        raise InvalidInput("give the SHA-256 of what was handed over", reason="PROOF_INVALID")


def _require_ground(request: RightsRequest, ground: Ground) -> None:
    if ground == "identity_not_proven" and request.state != "received":
        raise InvalidInput("the requester's identity was proven", reason="GROUND_DOES_NOT_FIT")


def _day(day: date, first: date, today: Today) -> date:
    if not first <= day <= today.latest:
        raise InvalidInput("the day is in the future, or before it can be", reason="DAY_INVALID")
    return day
