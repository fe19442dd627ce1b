"""Signed notes: a text and the signatures under it, verifiable offline (C2SP signed-note, https://c2sp.org/signed-note). Pure.

A note is the text, which ends in a newline, an empty line, and a line per signature: an em dash, the key's name, and in
base64 four bytes that identify the key followed by the Ed25519 signature of the text. A verifier key is one line,
`name+hash+key`, which a reader gets from somewhere else than from the note.
"""

import base64
import hashlib
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNER = "customer360"  # the name of the keyring's signing key
ED25519 = b"\x01"
DASH = "\N{EM DASH}"
KEY_ID_BYTES = 4


class NoteBroken(Exception):
    """Not a note that this key has signed. The text says what is wrong with it."""


class Signer(Protocol):
    """The signing half of a keyring."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


def verifier_key(name: str, public_key: bytes) -> str:
    return f"{name}+{_key_id(name, public_key).hex()}+{to_base64(ED25519 + public_key)}"


def sign_note(text: str, name: str, signer: Signer) -> str:
    """`text` ends in a newline."""
    assert text.endswith("\n"), "the text of a note ends in a newline"
    signature = _key_id(name, signer.public_key) + signer.sign(text.encode())
    return f"{text}\n{DASH} {name} {to_base64(signature)}\n"


def verify_note(note: str, verifier: str) -> str:
    """The text. Raises NoteBroken."""
    return open_note(note, *parse_verifier(verifier))


def open_note(note: str, name: str, public_key: bytes) -> str:
    """The text, when the key `name` has signed it. Lines of other keys are left alone. Raises NoteBroken."""
    text, gap, signatures = note.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise NoteBroken("it has not the form of a signed note")
    text += "\n"
    known = _key_id(name, public_key)
    for line in signatures.splitlines():
        dash, _, rest = line.partition(" ")
        signer, _, encoded = rest.partition(" ")
        if dash == DASH and signer == name and (signature := from_base64(encoded))[:KEY_ID_BYTES] == known:
            _verify(text, signature[KEY_ID_BYTES:], public_key)
            return text
    raise NoteBroken("it is not signed with this key under this name")


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def from_base64(text: str) -> bytes:
    """Only what `to_base64` writes: base64 has several texts for the same bytes. Raises NoteBroken."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if to_base64(data) != text:
        raise NoteBroken("it holds something that is not base64")
    return data


def _verify(text: str, signature: bytes, public_key: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text.encode())
    except InvalidSignature:
        raise NoteBroken("its signature doesn't fit its text") from None


def parse_verifier(verifier: str) -> tuple[str, bytes]:
    """Name and public key. Raises NoteBroken."""
    name, _, rest = verifier.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    key = from_base64(encoded)
    if not name or key[:1] != ED25519 or len(key) != 33 or _key_id(name, key[1:]).hex() != key_id:
        raise NoteBroken("this is not a verifier key")
    return name, key[1:]


def _key_id(name: str, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public_key).digest()[:KEY_ID_BYTES]
