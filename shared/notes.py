"""Signed notes: a text and the signatures under it, verifiable offline (C2SP signed-note, https://c2sp.org/signed-note).

A note is the text, which ends in a newline, an empty line, and a line per signature: an em dash, the key's name, and in
base64 four bytes that identify the key followed by the Ed25519 signature of the text. A verifier key is one line,
`name+hash+key`, which a reader gets from somewhere else than from the note.
"""

import base64
import hashlib
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNER = "customer360"  # the name of the keyring's signing key
ED25519 = b"\x01"
DASH = "\u2014 "
HASH_BYTES = 4


class NoteBroken(Exception):
    """Not a note, or not signed by this key; the text says which."""


def verifier_key(name: str, public_key: bytes) -> str:
    return f"{name}+{_key_hash(name, public_key).hex()}+{_base64(ED25519 + public_key)}"


def sign_note(text: str, name: str, public_key: bytes, sign: Callable[[bytes], bytes]) -> str:
    """`text` ends in a newline."""
    assert text.endswith("\n"), "the text of a note ends in a newline"
    signature = _key_hash(name, public_key) + sign(text.encode())
    return f"{text}\n{DASH}{name} {_base64(signature)}\n"


def verify_note(note: str, verifier: str) -> str:
    """The text. Signatures of other keys are ignored. Raises NoteBroken."""
    name, public_key = _parse_verifier(verifier)
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise NoteBroken("not a signed note")
    text += "\n"
    for line in signatures.splitlines():
        if (signature := _signature_by(line, name, _key_hash(name, public_key))) is not None:
            try:
                Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text.encode())
            except InvalidSignature:
                raise NoteBroken("the text is not what was signed") from None
            return text
    raise NoteBroken(f"not signed by {name}")


def _signature_by(line: str, name: str, key_hash: bytes) -> bytes | None:
    signer, _, encoded = line.removeprefix(DASH).partition(" ")
    if not line.startswith(DASH) or signer != name:
        return None
    signature = _from_base64(encoded)
    return signature[HASH_BYTES:] if signature[:HASH_BYTES] == key_hash else None


def _parse_verifier(verifier: str) -> tuple[str, bytes]:
    name, _, rest = verifier.strip().partition("+")
    key_hash, _, encoded = rest.partition("+")
    key = _from_base64(encoded)
    if not name or key[:1] != ED25519 or len(key) != 33 or _key_hash(name, key[1:]).hex() != key_hash:
        raise NoteBroken("not a verifier key")
    return name, key[1:]


def _key_hash(name: str, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public_key).digest()[:HASH_BYTES]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise NoteBroken("not base64") from None
