"""What is known of how old somebody is, and how that is corrected. Pure: a command and what was recorded before it in, a decision out."""

from collections.abc import Iterable

import msgspec

from services.consent.domain.definitions import CLOCK_TOLERANCE, instant_given
from services.consent.domain.form import MAX_AGE, check_said
from services.consent.domain.ledger import check_method, check_proof
from shared.consent_overlays import valid_from
from shared.errors import InvalidInput, NotFound, WrongState
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, KnownAge
from shared.ids import NewId
from shared.request_ids import check_request_id


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What both commands say. Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, AGE_INVALID, METHOD_INVALID, PROOF_INVALID,
    REASON_INVALID, NAME_INVALID)."""

    request_id: str
    under: int  # years
    at_least: int = 0
    at: int | None = None  # when they were so old; None: now
    method: str = ""
    proof_sha256: bytes = b""
    by: str
    reason: str

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_said(self.by, self.reason)
        check_method(self.method)
        check_proof(self.proof_sha256)
        if not (0 <= self.at_least < self.under <= MAX_AGE or self.at_least == self.under == 0):
            raise _invalid()


class RecordAge(Said, frozen=True, kw_only=True):
    identifier_hash: bytes
    namespace: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.under:
            raise _invalid()


class CorrectAge(Said, frozen=True, kw_only=True):
    """`under` 0: it isn't known how old they are."""

    age_id: bytes
    under: int = 0


def record_age(command: RecordAge, now: int, new_id: NewId) -> DecisionRecorded:
    """Raises InvalidInput (INSTANT_IN_FUTURE, INSTANT_INVALID)."""
    return _said(command, command.identifier_hash, command.namespace, _age(command), now, new_id)


def correct_age(
    command: CorrectAge, wrong: DecisionRecorded | None, since: Iterable[DecisionRecorded], now: int, new_id: NewId
) -> DecisionRecorded:
    """`since` is all that was recorded about its identifier.

    Raises NotFound (AGE_UNKNOWN), WrongState (AGE_CORRECTED), InvalidInput (INSTANT_IN_FUTURE, INSTANT_INVALID).
    """
    if wrong is None or wrong.age is None or not wrong.age.under or wrong.age.guardian_hash:
        raise NotFound("nobody's age was recorded by this id", reason="AGE_UNKNOWN")
    if any(one.age and one.age.corrects == wrong.decision_id for one in since):
        raise WrongState("this was corrected before: correct what was said in its place", reason="AGE_CORRECTED")
    age = _age(command, wrong.decision_id, valid_from(wrong))
    return _said(command, wrong.identifier_hash, wrong.namespace, age, now, new_id)


def says_the_same(command: RecordAge | CorrectAge, earlier: DecisionRecorded) -> bool:
    """A command that is repeated. Without an instant it was "now" at the first try, and one ahead of our clock was brought back to now."""
    ahead = 0 if command.at is None else command.at - earlier.decided_at
    if isinstance(command, RecordAge):
        identifier_hash, age = command.identifier_hash, _age(command)
    else:
        identifier_hash, age = earlier.identifier_hash, _age(command, command.age_id, earlier.age.holds_from if earlier.age else 0)
    return (
        0 <= ahead <= CLOCK_TOLERANCE
        and (age, identifier_hash) == (earlier.age, earlier.identifier_hash)
        and (command.method, command.proof_sha256) == (earlier.method, earlier.proof_sha256)
    )


def _said(
    command: RecordAge | CorrectAge, identifier_hash: bytes, namespace: str, age: KnownAge, now: int, new_id: NewId
) -> DecisionRecorded:
    return DecisionRecorded(
        request_id=command.request_id,
        decision_id=new_id(),
        identifier_hash=identifier_hash,
        namespace=namespace,
        purpose=EVERY_PURPOSE,
        purpose_version=0,
        outcome="age_known" if command.under else "age_taken_back",
        decided_at=instant_given(command.at, now),
        method=command.method,
        proof_sha256=command.proof_sha256,
        age=age,
    )


def _age(command: RecordAge | CorrectAge, corrects: bytes = b"", holds_from: int = 0) -> KnownAge:
    return KnownAge(
        under=command.under,
        at_least=command.at_least,
        corrects=corrects,
        holds_from=holds_from,
        by=command.by,
        reason=command.reason,
    )


def _invalid() -> InvalidInput:
    return InvalidInput(f"somebody is younger than 1 to {MAX_AGE} years, and at least less than that", reason="AGE_INVALID")
