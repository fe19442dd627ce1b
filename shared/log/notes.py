"""Checkpoints (c2sp.org/tlog-checkpoint) and the heads of streams, as signed notes. Pure.

The name of the key is the note's first line, so that what was signed for one log and partition means nothing in another.
"""

from typing import NamedTuple

from shared.ids import to_text
from shared.log.merkle import HASH_BYTES
from shared.notes import NoteBroken, Signer, from_base64, open_note, sign_note, to_base64


class Checkpoint(NamedTuple):
    """What a partition's tree was at some size."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"


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
    return sign_note(text, text.partition("\n")[0], signer)


def open_checkpoint(note: str, origin: str, public_key: bytes) -> Checkpoint:
    """Raises NoteBroken."""
    text = open_note(note, origin, public_key)
    lines = text.splitlines()
    if len(lines) < 3 or lines[0] != origin or not (lines[1].isascii() and lines[1].isdigit()):
        raise NoteBroken("it is signed, but is no checkpoint of this partition")
    root = from_base64(lines[2])
    if len(root) != HASH_BYTES:
        raise NoteBroken("it is signed, but has no root")
    return Checkpoint(origin, int(lines[1]), root)
