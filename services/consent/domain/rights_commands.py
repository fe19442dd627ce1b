"""What is asked of a rights request, in the form in which it is taken. Pure."""

from datetime import date
from typing import Final

import msgspec

from services.consent.domain.form import MAX_LINE, MAX_WHO
from services.consent.domain.ledger import SHA256_BYTES, check_method
from shared.errors import InvalidInput
from shared.events.rights import Ground, Law, Right
from shared.request_ids import check_request_id

MAX_REFERENCES: Final = 100  # one for each purpose that is objected to, by far
MAX_REFERENCE: Final = 100  # characters


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, NAME_INVALID, REASON_INVALID)."""

    request_id: str
    by: str
    reason: str

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        if not 1 <= len(self.by) <= MAX_WHO or not self.by.isprintable():
            raise InvalidInput(f"say who does it, in 1 to {MAX_WHO} printable characters", reason="NAME_INVALID")
        if not 1 <= len(self.reason) <= MAX_LINE or not self.reason.isprintable():
            raise InvalidInput(f"say why: a reason is 1 to {MAX_LINE} printable characters", reason="REASON_INVALID")


class Receive(Command, frozen=True, kw_only=True):
    identifier_hash: bytes
    namespace: str
    right: Right
    law: Law
    calendar: str = ""
    callback_urls: tuple[str, ...] = ()
    received_on: date | None = None  # None: today, where that is earliest


class Acknowledge(Command, frozen=True, kw_only=True):
    told_on: date | None = None  # None: today, where that is latest


class CheckIdentity(Command, frozen=True, kw_only=True):
    """Raises InvalidInput (METHOD_INVALID) too."""

    passed: bool
    method: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_method(self.method)
        if not self.method:
            raise InvalidInput("say how the requester's identity was checked", reason="METHOD_INVALID")


class Extend(Command, frozen=True, kw_only=True):
    told_on: date | None = None


class Begin(Command, frozen=True, kw_only=True):
    pass


class Fulfil(Command, frozen=True, kw_only=True):
    """Raises InvalidInput (REFERENCES_INVALID, PROOF_INVALID) too."""

    references: tuple[str, ...]
    proof_sha256: bytes = b""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.references) <= MAX_REFERENCES or not all(map(_is_reference, self.references)):
            raise InvalidInput(
                f"name what did it: 1 to {MAX_REFERENCES} ids of at most {MAX_REFERENCE} printable characters",
                reason="REFERENCES_INVALID",
            )
        if len(self.proof_sha256) not in (0, SHA256_BYTES):
            raise InvalidInput("a proof is named by its SHA-256, 64 hexadecimal digits", reason="PROOF_INVALID")


class Refuse(Command, frozen=True, kw_only=True):
    ground: Ground


class Withdraw(Command, frozen=True, kw_only=True):
    pass


AnyStep = Acknowledge | CheckIdentity | Extend | Begin | Fulfil | Refuse | Withdraw


def _is_reference(text: str) -> bool:
    return 1 <= len(text) <= MAX_REFERENCE and text.isprintable()
