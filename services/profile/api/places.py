"""Places in lists of customers, sealed: the last one that was looked at may be withheld, and a page token must not name it."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import InvalidInput
from shared.randomness import draw

NONCE_BYTES = 12


class Places:
    """Under a key of the vault's, so that every process opens them; never kept, so a nonce drawn for each is enough."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(key, b"places in lists", hashlib.sha256))  # for this use alone

    def seal(self, customer: bytes, belongs_to: str) -> bytes:
        """Another one each time; opens in this list alone."""
        nonce = draw(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, customer, belongs_to.encode())

    def open(self, place: bytes, belongs_to: str) -> bytes:
        """Raises InvalidInput (PAGE_TOKEN_INVALID)."""
        try:
            return self._cipher.decrypt(place[:NONCE_BYTES], place[NONCE_BYTES:], belongs_to.encode())
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise InvalidInput("not a page token of this list", reason="PAGE_TOKEN_INVALID") from None
