"""Given what was recorded, when a command comes, then events or an error."""

from typing import Any

import pytest

from services.consent.domain.definitions import CLOCK_TOLERANCE
from services.consent.domain.ledger import Event, NoticeNamed, RecordDecision, fold, record_decision
from shared.consent_rule import Case, judge
from shared.errors import Conflict, CustomerError, InvalidInput
from shared.events.consent import DecisionRecorded, NoticeDefined, NoticeShown, NoticeText, PurposeDefined
from shared.instants import SECOND

NOW = 1_750_000_000 * SECOND
ID = b"i" * 16
ANNA = b"a" * 16
BERND = b"b" * 16


def a_purpose(**changes: Any) -> PurposeDefined:
    fields: dict[str, Any] = {
        "request_id": "define-1",
        "name": "newsletter",
        "version": 1,
        "description": "Send the newsletter",
        "legal_basis": "consent",
        "traits": ("email",),
    }
    return PurposeDefined(**(fields | changes))


def a_notice(**changes: Any) -> NoticeDefined:
    text = NoticeText(locale="en", text="Yes, send it.", sha256=b"s" * 32)
    fields: dict[str, Any] = {
        "request_id": "define-2",
        "name": "asking",
        "version": 1,
        "purposes": ("newsletter",),
        "texts": (text,),
    }
    return NoticeDefined(**(fields | changes))


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


def decide(given: list[Event], command: RecordDecision, now: int = NOW) -> list[DecisionRecorded]:
    return record_decision(fold(given), command, now, lambda: ID)


NEWSLETTER = a_purpose()
GRANTED = decide([NEWSLETTER], a_command())[0]


def reason(raised: pytest.ExceptionInfo[CustomerError]) -> str:
    return raised.value.reason


def test_a_decision_without_an_instant_was_made_now() -> None:
    assert GRANTED.decided_at == NOW


@pytest.mark.parametrize(
    ("decided_at", "version"),
    [(None, 3), (NOW, 3), (NOW - SECOND, 2), (NOW - 9 * SECOND, 1)],
    ids=["now", "at its beginning", "before", "before the first"],
)
def test_a_decision_pins_the_version_of_the_purpose_that_was_in_force_when_it_was_made(
    decided_at: int | None, version: int
) -> None:
    starts = (NOW - 3 * SECOND, NOW - 2 * SECOND, NOW)
    versions: list[Event] = [a_purpose(version=number, in_force_at=start) for number, start in enumerate(starts, 1)]
    [decision] = decide(versions, a_command(decided_at=decided_at))
    assert (decision.purpose, decision.purpose_version) == ("newsletter", version)


def test_a_decision_pins_the_text_that_was_shown() -> None:
    [decision] = decide([NEWSLETTER, a_notice()], a_command(notice=NoticeNamed("asking", 1, "en")))
    assert decision.notice == NoticeShown(name="asking", version=1, locale="en", sha256=b"s" * 32)


@pytest.mark.parametrize(
    ("notice", "shown", "expected"),
    [
        ({}, ("other", 1, "en"), "NOTICE_UNKNOWN"),
        ({}, ("asking", 2, "en"), "NOTICE_UNKNOWN"),
        ({}, ("asking", 0, "en"), "NOTICE_UNKNOWN"),
        ({}, ("a\0b", 1, "en"), "NOTICE_UNKNOWN"),
        ({}, ("asking", 1, "de"), "NOTICE_NOT_SHOWN"),
        ({"purposes": ("analytics",)}, ("asking", 1, "en"), "NOTICE_NOT_SHOWN"),
        ({"in_force_at": NOW + 1}, ("asking", 1, "en"), "NOTICE_NOT_SHOWN"),
    ],
)
def test_nobody_was_shown_what_is_not_defined_or_tells_of_something_else(
    notice: dict[str, Any], shown: tuple[str, int, str], expected: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        decide([NEWSLETTER, a_notice(**notice)], a_command(notice=NoticeNamed(*shown)))
    assert reason(raised) == expected


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
        {"attested_age": 18},
        {"proof_sha256": b"p" * 32},
        {"notice": NoticeNamed("asking", 1, "en")},
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
        ({"attested_age": 151}, "AGE_INVALID"),
        ({"proof_sha256": b"short"}, "PROOF_INVALID"),
        ({"attested_age": 18, "outcome": "refused"}, "AGE_INVALID"),
    ],
)
def test_a_decision_out_of_form_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        a_command(**changes)
    assert reason(raised) == expected


def test_only_a_grant_is_confirmed_by_the_person() -> None:
    with pytest.raises(InvalidInput) as refused:
        RecordDecision(
            request_id="r", identifier_hash=b"h", namespace="email", purpose="marketing", outcome="withdrawn", confirmed=True
        )
    assert refused.value.reason == "CONFIRMED_INVALID"


@pytest.mark.parametrize(
    ("purpose", "command", "expected"),
    [
        ({"legal_basis": "contract"}, {"outcome": "objected"}, "NOTHING_TO_DECIDE"),
        ({"legal_basis": "legal_obligation"}, {"outcome": "granted"}, "NOTHING_TO_DECIDE"),
        ({}, {"outcome": "opted_in"}, "OUTCOME_DOES_NOT_FIT"),
        ({"scope": "contact_point", "contact_points": ("email", "phone")}, {"namespace": "user_id"}, "NO_CONTACT_POINT"),
    ],
)
def test_what_could_never_count_is_refused(purpose: dict[str, Any], command: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decide([a_purpose(**purpose)], a_command(**command))
    assert reason(raised) == expected


@pytest.mark.parametrize("outcome", ["refused", "withdrawn", "objected", "opted_out", "limited"])
@pytest.mark.parametrize("legal_basis", ["consent", "legitimate_interest"])
def test_what_forbids_is_taken_from_whatever_it_comes(outcome: str, legal_basis: str) -> None:
    purpose = a_purpose(legal_basis=legal_basis, scope="contact_point", contact_points=("email",))
    [decision] = decide([purpose], a_command(outcome=outcome, namespace="user_id"))
    assert not judge(Case(purpose, [decision], NOW)).permitted
