"""Double opt-in: a grant that waits to be confirmed from the identifier itself, and the click that confirms it. Pure.

What waits is a decision like any other, unconfirmed, which names until when it may be confirmed; the confirmation is another one, that names
the first. So the instants and the texts of both clicks are in the ledger. A token is signed; the ledger has its hash.
"""

import base64
import hashlib
import hmac
from collections.abc import Collection
from typing import Final

import msgspec

from services.consent.domain.definitions import check_name, instant_given
from services.consent.domain.ledger import Ledger, NoticeNamed, RecordDecision, check_method, named, record_decision
from shared.consent_rule import DENIALS
from shared.errors import InvalidInput, WrongState
from shared.events.consent import DecisionRecorded
from shared.ids import NewId
from shared.instants import DAY
from shared.request_ids import check_request_id, reused

DEFAULT_WAIT_DAYS: Final = 7
LONGEST_WAIT_DAYS: Final = 90  # who hasn't clicked by then won't remember having asked
ID_BYTES, INSTANT_BYTES, SIGNATURE_BYTES = 16, 8, 16
SIGNED_AS: Final = b"c360 confirmation\0"  # no identifier's hash is made of a text that begins so


class RequestConfirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted, and how long it waits. Raises InvalidInput (WAIT_INVALID, CONFIRMED_INVALID)."""

    decision: RecordDecision
    wait_days: int = DEFAULT_WAIT_DAYS

    def __post_init__(self) -> None:
        if not 1 <= self.wait_days <= LONGEST_WAIT_DAYS:
            raise InvalidInput(f"a confirmation is waited for 1 to {LONGEST_WAIT_DAYS} days", reason="WAIT_INVALID")
        if self.decision.outcome != "granted" or self.decision.confirmed:
            raise InvalidInput("what waits to be confirmed was granted, and isn't confirmed yet", reason="CONFIRMED_INVALID")


class Confirm(msgspec.Struct, frozen=True, kw_only=True):
    """The second click. `notice`: the text that it was made under, if another than that of the first.

    Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, METHOD_INVALID, NOTICE_UNKNOWN).
    """

    request_id: str
    token: str
    confirmed_at: int | None = None  # None: now
    method: str = ""
    notice: NoticeNamed | None = None

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_method(self.method)
        if self.notice:
            check_name("notice", self.notice.name)


def token_of(decision_id: bytes, confirm_by: int, key: bytes) -> str:
    """The same for the same decision, so that a repeated request is answered alike."""
    content = decision_id + confirm_by.to_bytes(INSTANT_BYTES)
    return _text(content + _signature(content, key))


def decision_named(token: str, key: bytes) -> bytes:
    """The id of the decision that the token confirms. Raises InvalidInput (CONFIRMATION_UNKNOWN)."""
    try:
        found = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise _invalid() from None
    content, signature = found[: ID_BYTES + INSTANT_BYTES], found[ID_BYTES + INSTANT_BYTES :]
    several = _text(found) != token  # texts decode to the same bytes
    if several or not hmac.compare_digest(signature, _signature(content, key)):
        raise _invalid()
    return content[:ID_BYTES]


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def request_confirmation(
    ledger: Ledger, command: RequestConfirmation, now: int, new_id: NewId, key: bytes
) -> list[DecisionRecorded]:
    """Raises what record_decision does, Conflict (REQUEST_ID_REUSED), WrongState (NO_DOUBLE_OPT_IN: an unconfirmed grant would count)."""
    earlier = ledger.decisions.get(command.decision.request_id)
    if earlier is not None and earlier.confirm_by != earlier.decided_at + command.wait_days * DAY:
        raise reused()
    return [_waiting(ledger, event, command, key) for event in record_decision(ledger, command.decision, now, new_id)]


def _waiting(ledger: Ledger, event: DecisionRecorded, command: RequestConfirmation, key: bytes) -> DecisionRecorded:
    if not ledger.purposes[event.purpose, event.purpose_version].double_opt_in:
        raise WrongState("this purpose asks for no confirmation: record the decision", reason="NO_DOUBLE_OPT_IN")
    confirm_by = event.decided_at + command.wait_days * DAY
    token = token_of(event.decision_id, confirm_by, key)
    return msgspec.structs.replace(event, confirm_by=confirm_by, token_sha256=hash_of(token))


def confirmation(
    waiting: DecisionRecorded, since: Collection[DecisionRecorded], erased_at: int, command: Confirm, now: int
) -> RecordDecision:
    """The decision that the click is. `since`: what was decided by the same identifier about the same purpose; `erased_at`: when the
    identifier last was, -1 for never.

    Raises InvalidInput (CONFIRMATION_UNKNOWN, CONFIRMATION_TOO_EARLY, INSTANT_IN_FUTURE, INSTANT_INVALID), WrongState (CONFIRMATION_USED,
    CONFIRMATION_LAPSED, CONFIRMATION_OVERTAKEN).
    """
    if not hmac.compare_digest(waiting.token_sha256, hash_of(command.token)):
        raise _invalid()
    if all(other.request_id != command.request_id for other in since):
        _require_open(waiting, since, erased_at, instant_given(command.confirmed_at, now))
    return RecordDecision(
        request_id=command.request_id,
        identifier_hash=waiting.identifier_hash,
        namespace=waiting.namespace,
        purpose=waiting.purpose,
        outcome="granted",
        decided_at=command.confirmed_at,
        method=command.method,
        confirmed=True,
        attested_age=waiting.attested_age,
        notice=command.notice or named(waiting.notice),
        confirms=waiting.decision_id,
        authorised=waiting.authorised,
    )


def _require_open(waiting: DecisionRecorded, since: Collection[DecisionRecorded], erased_at: int, confirmed_at: int) -> None:
    if any(other.confirms == waiting.decision_id for other in since):
        raise WrongState("this was confirmed before", reason="CONFIRMATION_USED")
    if confirmed_at < waiting.decided_at:
        raise InvalidInput("nobody confirms what was not asked yet", reason="CONFIRMATION_TOO_EARLY")
    if confirmed_at > waiting.confirm_by:
        raise WrongState("it was waited for no longer: ask anew", reason="CONFIRMATION_LAPSED")
    denied = any(o.outcome in DENIALS and waiting.decided_at <= o.decided_at <= confirmed_at for o in since)
    if denied or erased_at >= waiting.decided_at:
        raise WrongState("the person decided otherwise since, or was erased: ask anew", reason="CONFIRMATION_OVERTAKEN")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signature(content: bytes, key: bytes) -> bytes:
    return hmac.digest(key, SIGNED_AS + content, hashlib.sha256)[:SIGNATURE_BYTES]


def _invalid() -> InvalidInput:
    return InvalidInput("this is no token of ours", reason="CONFIRMATION_UNKNOWN")
