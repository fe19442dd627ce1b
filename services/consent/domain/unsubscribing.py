"""One click ends what comes to an address (RFC 8058): a link that says whose and of what, and the withdrawal that it is. Pure.

A token holds all that it says, sealed: a campaign's links are kept nowhere, and nobody reads in one whose it is. The same link has the
same token.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from services.consent.domain.ledger import RecordDecision
from services.consent.domain.signals.signal import Sealed
from shared.consent_rule import DENIALS, precedence
from shared.errors import InvalidInput, WrongState
from shared.events.consent import DecisionRecorded
from shared.instants import DAY

DEFAULT_DAYS: Final = 730  # who finds an old message in the mailbox may want to end them by it
LEAST_DAYS: Final = 30  # CAN-SPAM, 15 U.S.C. 7704(a)(3)(A)(ii): after the message was sent
MOST_DAYS: Final = 3_650
MOST_TOKEN_CHARACTERS: Final = 512  # three times the longest that is made
SEALED_AS: Final = [b"c360 unsubscribe"]


class Link(Sealed, frozen=True, array_like=True):
    """What it ends, for which identifier, and until when it may be used."""

    identifier_hash: bytes
    namespace: str
    purpose: str
    expires_at: int


_decode = msgspec.msgpack.Decoder(Link).decode
_encode = msgspec.msgpack.Encoder().encode


class LinkKey:
    def __init__(self, lookup_key: bytes) -> None:
        # Synthetic-IV mode (RFC 5297): no nonce that could repeat, however many links are made.
        self._cipher = AESSIV(hmac.digest(lookup_key, b"consent unsubscribe", hashlib.sha512))

    def token_of(self, link: Link) -> str:
        return _text(self._cipher.encrypt(_encode(link), SEALED_AS))

    def link_of(self, token: str) -> Link:
        """Raises InvalidInput (UNSUBSCRIBE_TOKEN_INVALID)."""
        try:
            if not 0 < len(token) <= MOST_TOKEN_CHARACTERS:
                raise ValueError
            sealed = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
            if _text(sealed) != token:  # texts decode to the same bytes
                raise ValueError
            return _decode(self._cipher.decrypt(sealed, SEALED_AS))
        except (ValueError, InvalidTag, msgspec.DecodeError):
            raise InvalidInput("this is no link of ours, or it was cut off", reason="UNSUBSCRIBE_TOKEN_INVALID") from None


def expiry(now: int, days: int) -> int:
    """Raises InvalidInput (UNSUBSCRIBE_DAYS_INVALID)."""
    if not LEAST_DAYS <= days <= MOST_DAYS:
        raise InvalidInput(f"a link is of use for {LEAST_DAYS} to {MOST_DAYS} days", reason="UNSUBSCRIBE_DAYS_INVALID")
    return now + days * DAY


def withdrawal(link: Link, since: Iterable[DecisionRecorded], request_id: str, method: str, now: int) -> RecordDecision | None:
    """None: it is denied already. `since`: what the same identifier decided about the same purpose, and still counts.

    Raises WrongState (UNSUBSCRIBE_TOKEN_EXPIRED).
    """
    if now > link.expires_at:
        raise WrongState("this link is too old", reason="UNSUBSCRIBE_TOKEN_EXPIRED")
    newest = max(since, key=precedence, default=None)
    if newest is not None and newest.outcome in DENIALS:
        return None
    return RecordDecision(
        request_id=request_id,
        identifier_hash=link.identifier_hash,
        namespace=link.namespace,
        purpose=link.purpose,
        outcome="withdrawn",
        method=method,
    )


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
