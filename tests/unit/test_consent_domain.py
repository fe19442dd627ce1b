"""Given what was recorded, when a command comes, then events or an error."""

from typing import Any

import pytest

from services.consent.domain.ledger import (
    CLOCK_TOLERANCE,
    READY_PURPOSES,
    DefinePurpose,
    Event,
    RecordDecision,
    define_purpose,
    fold,
    record_decision,
)
from shared.errors import Conflict, CustomerError, InvalidInput
from shared.events.consent import ALL_TRAITS, DecisionRecorded, PurposeDefined
from shared.instants import SECOND

NOW = 1_750_000_000 * SECOND
ID = b"i" * 16
ANNA = b"a" * 16
BERND = b"b" * 16


def a_definition(**changes: Any) -> DefinePurpose:
    fields = {
        "request_id": "define-1",
        "name": "newsletter",
        "description": "Send the newsletter",
        "legal_basis": "consent",
        "traits": ("email",),
    }
    return DefinePurpose(**(fields | changes))


def a_command(**changes: Any) -> RecordDecision:
    fields = {
        "request_id": "decide-1",
        "identifier_hash": ANNA,
        "namespace": "email",
        "purpose": "newsletter",
        "outcome": "granted",
        "method": "web-form",
    }
    return RecordDecision(**(fields | changes))


def define(given: list[Event], command: DefinePurpose) -> list[PurposeDefined]:
    return define_purpose(fold(given), command)


def decide(given: list[Event], command: RecordDecision, now: int = NOW) -> list[DecisionRecorded]:
    return record_decision(fold(given), command, now, lambda: ID)


NEWSLETTER = define([], a_definition())[0]
GRANTED = decide([NEWSLETTER], a_command())[0]


def reason(raised: pytest.ExceptionInfo[CustomerError]) -> str:
    return raised.value.reason


def test_the_first_definition_of_a_purpose_is_version_1() -> None:
    assert NEWSLETTER.version == 1


def test_a_further_definition_is_the_next_version() -> None:
    [second] = define([NEWSLETTER], a_definition(request_id="define-2", traits=("email", "language")))
    assert (second.version, second.traits) == (2, ("email", "language"))


def test_versions_follow_the_newest_in_whatever_order_it_was_told() -> None:
    [second] = define([NEWSLETTER], a_definition(request_id="define-2"))
    [third] = define([second, NEWSLETTER], a_definition(request_id="define-3"))
    assert third.version == 3


def test_a_definition_repeated_is_not_a_further_version() -> None:
    assert define([NEWSLETTER], a_definition()) == []


def test_a_definition_repeated_after_a_newer_version_is_still_answered_as_the_first_time() -> None:
    [second] = define([NEWSLETTER], a_definition(request_id="define-2", legal_basis="contract"))
    assert define([NEWSLETTER, second], a_definition()) == []


@pytest.mark.parametrize("changes", [{"traits": ("phone",)}, {"legal_basis": "contract"}, {"description": "?"}, {"name": "other"}])
def test_a_request_id_of_another_definition_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Conflict) as raised:
        define([NEWSLETTER], a_definition(**changes))
    assert reason(raised) == "REQUEST_ID_REUSED"


def test_a_trait_named_twice_is_seen_once() -> None:
    [defined] = define([], a_definition(traits=("email", "phone", "email")))
    assert defined.traits == ("email", "phone")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"request_id": ""}, "REQUEST_ID_MISSING"),
        ({"request_id": "x" * 101}, "REQUEST_ID_INVALID"),
        ({"request_id": "a\0b"}, "REQUEST_ID_INVALID"),
        ({"name": ""}, "PURPOSE_INVALID"),
        ({"name": "News-Letter"}, "PURPOSE_INVALID"),
        ({"name": "newsletter\n"}, "PURPOSE_INVALID"),
        ({"name": "x" * 65}, "PURPOSE_INVALID"),
        ({"description": "x" * 1001}, "PURPOSE_INVALID"),
        ({"traits": ("",)}, "PURPOSE_INVALID"),
        ({"traits": ("x" * 129,)}, "PURPOSE_INVALID"),
        ({"traits": tuple(str(n) for n in range(501))}, "PURPOSE_INVALID"),
    ],
)
def test_a_definition_out_of_form_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        a_definition(**changes)
    assert reason(raised) == expected


def test_a_decision_without_an_instant_was_made_now() -> None:
    assert GRANTED.decided_at == NOW


def test_a_decision_pins_the_version_of_the_purpose_that_was_current() -> None:
    [second] = define([NEWSLETTER], a_definition(request_id="define-2"))
    [decision] = decide([NEWSLETTER, second], a_command())
    assert (decision.purpose, decision.purpose_version) == ("newsletter", 2)


def test_a_decision_about_a_purpose_that_nobody_defined_is_refused() -> None:
    with pytest.raises(InvalidInput) as raised:
        decide([], a_command())
    assert reason(raised) == "PURPOSE_UNKNOWN"


def test_a_late_decision_keeps_its_instant() -> None:
    assert decide([NEWSLETTER], a_command(decided_at=NOW - 9 * SECOND))[0].decided_at == NOW - 9 * SECOND


def test_an_instant_that_a_clock_ahead_of_ours_gave_is_now() -> None:
    assert decide([NEWSLETTER], a_command(decided_at=NOW + CLOCK_TOLERANCE))[0].decided_at == NOW


@pytest.mark.parametrize(("instant", "expected"), [(NOW + CLOCK_TOLERANCE + 1, "INSTANT_IN_FUTURE"), (-1, "INSTANT_INVALID")])
def test_an_impossible_instant_is_refused(instant: int, expected: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decide([NEWSLETTER], a_command(decided_at=instant))
    assert reason(raised) == expected


@pytest.mark.parametrize("decided_at", [None, NOW, NOW + SECOND])
def test_a_decision_repeated_is_not_recorded_again(decided_at: int | None) -> None:
    command = a_command(decided_at=decided_at)
    first = decide([NEWSLETTER], command)
    assert decide([NEWSLETTER, *first], command, now=NOW + 60 * SECOND) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "withdrawn"},
        {"identifier_hash": BERND},
        {"purpose": "analytics"},
        {"method": "call-centre"},
        {"decided_at": NOW - 1},
        {"decided_at": NOW + CLOCK_TOLERANCE + 1},
    ],
)
def test_a_request_id_of_another_decision_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Conflict) as raised:
        decide([NEWSLETTER, GRANTED], a_command(**changes))
    assert reason(raised) == "REQUEST_ID_REUSED"


def test_definitions_and_decisions_have_request_ids_of_their_own() -> None:
    assert decide([NEWSLETTER], a_command(request_id=NEWSLETTER.request_id))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"request_id": ""}, "REQUEST_ID_MISSING"),
        ({"request_id": "x" * 101}, "REQUEST_ID_INVALID"),
        ({"purpose": ""}, "PURPOSE_UNKNOWN"),
        ({"purpose": "a\0b"}, "PURPOSE_UNKNOWN"),
        ({"method": "x" * 65}, "METHOD_INVALID"),
        ({"method": "a\nb"}, "METHOD_INVALID"),
    ],
)
def test_a_decision_out_of_form_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        a_command(**changes)
    assert reason(raised) == expected


def test_the_ready_purposes_can_all_be_defined() -> None:
    defined = [event for command in READY_PURPOSES for event in define([], command)]
    assert {purpose.name: purpose.legal_basis for purpose in defined} == {
        "service": "contract",
        "marketing": "consent",
        "analytics": "legitimate_interest",
        "audit": "legal_obligation",
    }
    assert [purpose.name for purpose in defined if ALL_TRAITS in purpose.traits] == ["audit"]


def test_only_a_grant_is_confirmed_by_the_person() -> None:
    with pytest.raises(InvalidInput) as refused:
        RecordDecision(
            request_id="r", identifier_hash=b"h", namespace="email", purpose="marketing", outcome="withdrawn", confirmed=True
        )
    assert refused.value.reason == "CONFIRMED_INVALID"
