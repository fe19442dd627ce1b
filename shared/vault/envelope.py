"""An envelope: version (1 byte), key commitment (16), nonce (12), AES-256-GCM ciphertext and tag.

GCM alone doesn't commit to its key (one ciphertext can open under two keys, Albertini et al. 2022); the commitment,
a keyed hash of a constant, makes an envelope openable by the one key it was sealed with.
"""

import hashlib
import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.randomness import draw
from shared.telemetry import ENVELOPES_BROKEN

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12
COMMITMENT_BYTES = 16
HEAD_BYTES = len(VERSION) + COMMITMENT_BYTES
BODY_START = HEAD_BYTES + NONCE_BYTES

Random = Callable[[int], bytes]


class EnvelopeBroken(Exception):
    """A live key doesn't open this envelope: it was altered, or belongs elsewhere. Always an alarm.

    It is counted where it is made, so that whoever catches it, and goes on, can't silence it.
    """

    def __init__(self, because: str) -> None:
        super().__init__(because)
        ENVELOPES_BROKEN.inc()


class DataKey:
    """A ready key. Its bytes never print and can't be read back."""

    __slots__ = ("_cipher", "_head", "_random")

    def __init__(self, key: bytes, random: Random = draw) -> None:
        commitment = hmac.digest(key, b"customer360 key commitment", hashlib.sha256)[:COMMITMENT_BYTES]
        self._head = VERSION + commitment
        self._cipher = AESGCM(key)
        self._random = random

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """`associated` says where the envelope belongs; it opens nowhere else."""
        nonce = self._random(NONCE_BYTES)
        return self._head + nonce + self._cipher.encrypt(nonce, plaintext, associated)

    def open(self, envelope: bytes, associated: bytes) -> bytes:
        """Raises EnvelopeBroken."""
        if envelope[:HEAD_BYTES] != self._head:
            raise EnvelopeBroken("sealed with another key")
        try:
            return self._cipher.decrypt(envelope[HEAD_BYTES:BODY_START], envelope[BODY_START:], associated)
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise EnvelopeBroken("altered, or moved from where it belongs") from None


class LostKey(DataKey):
    """Stands for a live key that can't be unwrapped. What was sealed with it is not erased, and can't be read."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(bytes(KEY_BYTES))

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Raises EnvelopeBroken: nobody could open it."""
        raise EnvelopeBroken("its key can't be unwrapped")

    def open(self, envelope: bytes, associated: bytes) -> bytes:
        """Raises EnvelopeBroken."""
        raise EnvelopeBroken("its key can't be unwrapped")
