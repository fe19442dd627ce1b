"""Hashes as callers name them."""

from shared.errors import InvalidInput


def sha256_named(text: str) -> bytes:
    """Of what proves something. Raises InvalidInput (PROOF_INVALID)."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InvalidInput("a proof is named by its SHA-256, 64 hexadecimal digits", reason="PROOF_INVALID") from None
