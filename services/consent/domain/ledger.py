"""What may be decided. Pure: a command and what was recorded before it in, events or an error out.

A command that was carried out before gives no event: its answer already stands in the ledger.
"""

from collections.abc import Iterable
from functools import reduce
from typing import Final

import msgspec

from services.consent.domain.definitions import CLOCK_TOLERANCE, check_name, instant_given, unknown
from services.consent.domain.form import MAX_AGE
from shared.consent_conditions import GRANTS
from shared.consent_rule import ALLOWED_BY_LAW
from shared.errors import InvalidInput
from shared.events.consent import DecisionRecorded, NoticeDefined, NoticeShown, Outcome, ParentalAuthorisation, PurposeDefined
from shared.ids import NewId
from shared.instants import END_OF_TIME
from shared.request_ids import check_request_id, reused

MAX_METHOD = 64  # characters
SHA256_BYTES = 32


class NoticeNamed(msgspec.Struct, frozen=True):
    name: str
    version: int
    locale: str


class RecordDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, PURPOSE_UNKNOWN, NOTICE_UNKNOWN, METHOD_INVALID,
    CONFIRMED_INVALID, AGE_INVALID, PROOF_INVALID, AUTHORISATION_INVALID)."""

    request_id: str
    identifier_hash: bytes
    namespace: str
    purpose: str
    outcome: Outcome
    decided_at: int | None = None  # None: now
    method: str = ""
    confirmed: bool = False
    attested_age: int = 0
    notice: NoticeNamed | None = None
    proof_sha256: bytes = b""
    confirms: bytes = b""  # the decision that waited for this one
    authorised: ParentalAuthorisation | None = None

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_name("purpose", self.purpose)
        if self.notice:
            check_name("notice", self.notice.name)
        check_method(self.method)
        if self.confirmed and self.outcome != "granted":
            raise InvalidInput("only what was granted is confirmed by the person", reason="CONFIRMED_INVALID")
        if not 0 <= self.attested_age <= MAX_AGE or (self.attested_age and self.outcome not in GRANTS):
            raise InvalidInput(f"an age is attested of who grants, 0 to {MAX_AGE} years", reason="AGE_INVALID")
        check_proof(self.proof_sha256)
        if self.authorised:
            _check_authorised(self.authorised, self.outcome)


def check_method(method: str) -> None:
    """Raises InvalidInput (METHOD_INVALID)."""
    if len(method) > MAX_METHOD or not method.isprintable():
        raise InvalidInput(f"a method is at most {MAX_METHOD} printable characters", reason="METHOD_INVALID")


def check_proof(sha256: bytes) -> None:
    """Raises InvalidInput (PROOF_INVALID)."""
    if len(sha256) not in (0, SHA256_BYTES):
        raise InvalidInput("a proof is named by its SHA-256, 64 hexadecimal digits", reason="PROOF_INVALID")


def _check_authorised(authorised: ParentalAuthorisation, outcome: Outcome) -> None:
    if outcome not in GRANTS:
        raise InvalidInput("a parent authorises what is granted: a denial needs nobody", reason="AUTHORISATION_INVALID")
    if not 1 <= len(authorised.verified_by) <= MAX_METHOD or not authorised.verified_by.isprintable():
        raise InvalidInput(
            f"say by what it was verified who is responsible for the child, in 1 to {MAX_METHOD} printable characters",
            reason="AUTHORISATION_INVALID",
        )


Event = PurposeDefined | NoticeDefined | DecisionRecorded


class Ledger(msgspec.Struct, frozen=True):
    """A fold of the events that bear on a command."""

    purposes: dict[tuple[str, int], PurposeDefined] = {}  # by name and version
    notices: dict[tuple[str, int], NoticeDefined] = {}  # by name and version
    decisions: dict[str, DecisionRecorded] = {}  # by request id


def evolve(ledger: Ledger, event: Event) -> Ledger:
    match event:
        case DecisionRecorded():
            return msgspec.structs.replace(ledger, decisions=ledger.decisions | {event.request_id: event})
        case NoticeDefined():
            return msgspec.structs.replace(ledger, notices=ledger.notices | {(event.name, event.version): event})
        case PurposeDefined():
            return msgspec.structs.replace(ledger, purposes=ledger.purposes | {(event.name, event.version): event})


def fold(events: Iterable[Event]) -> Ledger:
    return reduce(evolve, events, Ledger())


def record_decision(ledger: Ledger, command: RecordDecision, now: int, new_id: NewId) -> list[DecisionRecorded]:
    """`now` is later than every decision recorded before.

    Raises InvalidInput (PURPOSE_UNKNOWN, NOTICE_UNKNOWN, NOTICE_NOT_SHOWN, INSTANT_IN_FUTURE, INSTANT_INVALID, NOTHING_TO_DECIDE,
    OUTCOME_DOES_NOT_FIT, NO_CONTACT_POINT), Conflict (REQUEST_ID_REUSED).
    """
    if (earlier := ledger.decisions.get(command.request_id)) is not None:
        if not _says_the_same(command, earlier):
            raise reused()
        return []
    decided_at = instant_given(command.decided_at, now)
    purpose = decided_about(ledger, command.purpose, decided_at)
    _check_fits(purpose, command)
    return [
        DecisionRecorded(
            request_id=command.request_id,
            decision_id=new_id(),
            identifier_hash=command.identifier_hash,
            namespace=command.namespace,
            purpose=purpose.name,
            purpose_version=purpose.version,
            outcome=command.outcome,
            decided_at=decided_at,
            method=command.method,
            confirmed=command.confirmed,
            attested_age=command.attested_age,
            notice=_shown(ledger, command.notice, purpose.name, decided_at) if command.notice else None,
            proof_sha256=command.proof_sha256,
            confirms=command.confirms,
            authorised=command.authorised,
        )
    ]


def decided_about(ledger: Ledger, name: str, decided_at: int) -> PurposeDefined:
    """The version that was in force when the person decided; the first where none was yet, as of what was defined later."""
    versions = [purpose for purpose in ledger.purposes.values() if purpose.name == name]
    if not versions:
        raise unknown("purpose")
    in_force = [purpose for purpose in versions if purpose.in_force_at <= decided_at]
    return max(in_force, key=_version_of) if in_force else min(versions, key=_version_of)


def _check_fits(purpose: PurposeDefined, command: RecordDecision) -> None:
    """What could never count isn't taken. What forbids is, of whatever can be forbidden at all."""
    if purpose.legal_basis in ALLOWED_BY_LAW:
        raise InvalidInput(
            "the purpose stands on a contract or the law: nobody decides about it", reason="NOTHING_TO_DECIDE", purpose=purpose.name
        )
    if command.outcome == "opted_in" and purpose.legal_basis == "consent":
        raise InvalidInput(
            "the purpose asks for consent: record that it was granted", reason="OUTCOME_DOES_NOT_FIT", purpose=purpose.name
        )
    if command.outcome in GRANTS and purpose.contact_points and command.namespace not in purpose.contact_points:
        raise InvalidInput(
            f"the purpose is decided about each of {', '.join(purpose.contact_points)} by itself: grant it for one of them",
            reason="NO_CONTACT_POINT",
            purpose=purpose.name,
        )


def _version_of(purpose: PurposeDefined) -> int:
    return purpose.version


def _shown(ledger: Ledger, named: NoticeNamed, purpose: str, decided_at: int) -> NoticeShown:
    notice = ledger.notices.get((named.name, named.version))
    if notice is None:
        raise unknown("notice")
    text = notice.text_in(named.locale)
    if text is None or purpose not in notice.purposes or notice.in_force_at > decided_at:
        raise InvalidInput(
            "this version of the notice tells of another purpose, has no text in this language, or was in force only later",
            reason="NOTICE_NOT_SHOWN",
        )
    return NoticeShown(name=notice.name, version=notice.version, locale=text.locale, sha256=text.sha256)


class Instant(msgspec.Struct, frozen=True):
    """valid_at: only what had been decided by then. known_at: only what our log knew by then."""

    valid_at: int = END_OF_TIME
    known_at: int = END_OF_TIME


NOW: Final = Instant()


def check_past(instant: Instant, now: int) -> None:
    """Raises InvalidInput (INSTANT_IN_FUTURE)."""
    if any(given != END_OF_TIME and given > now + CLOCK_TOLERANCE for given in (instant.valid_at, instant.known_at)):
        raise InvalidInput("nothing is known of the future", reason="INSTANT_IN_FUTURE")


def _says_the_same(command: RecordDecision, earlier: DecisionRecorded) -> bool:
    """Without an instant it was "now" at the first try, and one ahead of our clock was brought back to now."""
    ahead = 0 if command.decided_at is None else command.decided_at - earlier.decided_at
    return 0 <= ahead <= CLOCK_TOLERANCE and (
        (command.identifier_hash, command.purpose, command.outcome, command.method, command.confirmed, command.attested_age)
        == (earlier.identifier_hash, earlier.purpose, earlier.outcome, earlier.method, earlier.confirmed, earlier.attested_age)
        and (command.notice, command.proof_sha256) == (named(earlier.notice), earlier.proof_sha256)
        and (command.confirms, command.authorised) == (earlier.confirms, earlier.authorised)
    )


def named(shown: NoticeShown | None) -> NoticeNamed | None:
    return NoticeNamed(shown.name, shown.version, shown.locale) if shown else None
