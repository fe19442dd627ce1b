"""Opens sealed parts: version (1 byte), key commitment (16), nonce (12), AES-256-GCM."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from c360_verify.refusal import Refused, require


def open_envelope(key: bytes, envelope: bytes, associated: bytes) -> bytes:
    """The plaintext. Raises Refused."""
    commitment = hmac.digest(key, b"customer360 key commitment", hashlib.sha256)[:16]
    require(envelope[:17] == b"\x01" + commitment, "a key in the bundle is not the one that its stream was sealed with")
    try:
        return AESGCM(key).decrypt(envelope[17:29], envelope[29:], associated)
    except (InvalidTag, ValueError):
        raise Refused("a personal part doesn't open with its key") from None
