"""Signed notes and checkpoints as C2SP writes them (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), with Ed25519. Pure.

A note is text, an empty line, and signature lines: an em dash, the key's name, and base64 of key id and signature. The name
of our key is the note's first line, so that what was signed for one log and partition means nothing in another.
"""

import base64
import hashlib
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.ids import to_text
from shared.log.merkle import HASH_BYTES

ED25519 = b"\1"
KEY_ID_BYTES = 4
DASH = "\N{EM DASH}"


class NoteBroken(Exception):
    """Not a note that this key has signed. The text says what is wrong with it."""


class Signer(Protocol):
    """The signing half of a keyring."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


class Checkpoint(NamedTuple):
    """What a partition's tree was at some size."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


class StreamHead(NamedTuple):
    """That, at a checkpoint, the newest event of a stream was this one. `position` is None when it had none.

    `partitions` says where a stream belongs, so that nobody can show the emptiness of a place where it never was.
    """

    checkpoint: Checkpoint
    stream: bytes
    version: int
    position: int | None
    partitions: int

    def text(self) -> str:
        """A checkpoint's text under an origin of its own, and newest version, its position or "-", partitions."""
        origin, size, root = self.checkpoint
        position = "-" if self.position is None else self.position
        return f"{Checkpoint(stream_origin(origin, self.stream), size, root).text()}{self.version}\n{position}\n{self.partitions}\n"


def origin_of(installation: str, log: str, partition: int) -> str:
    return f"customer360/{installation}/{log}/{partition}"


def stream_origin(origin: str, stream: bytes) -> str:
    return f"{origin}/stream/{to_text(stream)}"


def signed(text: str, signer: Signer) -> str:
    name = text.partition("\n")[0]
    signature = _key_id(name, signer.public_key) + signer.sign(text.encode())
    return f"{text}\n{DASH} {name} {_base64(signature)}\n"


def opened(note: str, name: str, public_key: bytes) -> str:
    """The text, when the key `name` has signed it. Lines of other keys are left alone. Raises NoteBroken."""
    text, gap, signatures = note.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise NoteBroken("it has not the form of a signed note")
    text += "\n"
    known = _key_id(name, public_key)
    for line in signatures.splitlines():
        dash, _, rest = line.partition(" ")
        signer, _, encoded = rest.partition(" ")
        if dash == DASH and signer == name and (signature := _unbase64(encoded))[:KEY_ID_BYTES] == known:
            _verify(text, signature[KEY_ID_BYTES:], public_key)
            return text
    raise NoteBroken("it is not signed with this key under this name")


def open_checkpoint(note: str, origin: str, public_key: bytes) -> Checkpoint:
    """Raises NoteBroken."""
    text = opened(note, origin, public_key)
    lines = text.splitlines()
    if len(lines) < 3 or lines[0] != origin or not (lines[1].isascii() and lines[1].isdigit()):
        raise NoteBroken("it is signed, but is no checkpoint of this partition")
    root = _unbase64(lines[2])
    if len(root) != HASH_BYTES:
        raise NoteBroken("it is signed, but has no root")
    return Checkpoint(origin, int(lines[1]), root)


def _verify(text: str, signature: bytes, public_key: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text.encode())
    except InvalidSignature:
        raise NoteBroken("its signature doesn't fit its text") from None


def _key_id(name: str, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public_key).digest()[:KEY_ID_BYTES]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes:
    """Only what `_base64` writes: base64 has several texts for the same bytes. Raises NoteBroken."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if _base64(data) != text:
        raise NoteBroken("it holds something that is not base64")
    return data
