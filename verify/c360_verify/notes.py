"""Signed notes (c2sp.org/signed-note) with exactly one signature: that of the installation's key."""

import hashlib
import re
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from c360_verify.reading import as_bytes, as_id, as_number
from c360_verify.refusal import Refused, require

ED25519 = b"\x01"
# Before anything of it is quoted: what isn't verified yet must not speak to a terminal.
NAME = re.compile(r"customer360/[0-9a-f]{1,64}/[a-z]{1,32}/[0-9]{1,9}(/stream/[0-9a-f-]{36})?")


class Tree(NamedTuple):
    """What a checkpoint says of a partition of a log."""

    origin: str
    size: int
    root: bytes

    @property
    def installation(self) -> str:
        return self.origin.split("/")[1]

    @property
    def log(self) -> str:
        return self.origin.split("/")[2]

    @property
    def partition(self) -> int:
        return int(self.origin.split("/")[3])

    @property
    def name(self) -> str:
        return f"{self.log}/{self.partition}"


class StreamHead(NamedTuple):
    """What a head says of a stream: its newest version and where that stands, at this tree."""

    tree: Tree
    stream: bytes
    version: int
    position: int | None
    partitions: int


def read_checkpoint(note: str, public_key: bytes) -> Tree:
    lines = _signed_lines(note, public_key, "a checkpoint")
    require(len(lines) == 3, "a checkpoint has other lines than origin, size and root")
    return _tree(lines, lines[0])


def read_stream_head(note: str, public_key: bytes) -> StreamHead:
    lines = _signed_lines(note, public_key, "a stream's head")
    require(len(lines) == 6, "a stream's head has not six lines")
    origin, _, stream = lines[0].rpartition("/stream/")
    position = None if lines[4] == "-" else as_number(lines[4], "the position in a stream's head")
    version = as_number(lines[3], "the version in a stream's head")
    require((position is None) == (version == 0), "a stream's head has a version without a position, or the other way round")
    return StreamHead(
        _tree(lines, origin), as_id(stream, "the stream in its head"), version, position, as_number(lines[5], "partitions")
    )


def _tree(lines: list[str], origin: str) -> Tree:
    parts = origin.split("/")
    require(len(parts) == 4 and parts[0] == "customer360", "an origin is not customer360/<installation>/<log>/<partition>")
    as_number(parts[3], "the partition in an origin")
    root = as_bytes(lines[2], "the root in a checkpoint")
    require(len(root) == 32, "a root is 32 bytes")
    return Tree(origin, as_number(lines[1], "the size in a checkpoint"), root)


def _signed_lines(note: str, public_key: bytes, what: str) -> list[str]:
    require(isinstance(note, str) and not any(0xD800 <= ord(char) <= 0xDFFF for char in note), f"{what} is not text")
    text, gap, signature_line = note.rpartition("\n\n")
    name = text.partition("\n")[0]
    require(bool(NAME.fullmatch(name)), f"{what} has not customer360/<installation>/<log>/<partition> in its first line")
    start = f"\N{EM DASH} {name} "
    well_formed = gap and signature_line.startswith(start) and signature_line.endswith("\n") and signature_line.count("\n") == 1
    require(bool(well_formed), f"{what} is not a note with one signature under its own origin")
    signature = as_bytes(signature_line[len(start) : -1], f"the signature of {what}")
    key_id = hashlib.sha256(name.encode() + b"\n" + ED25519 + public_key).digest()[:4]
    require(signature[:4] == key_id, f"{what} ({name}) is signed with another key")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature[4:], f"{text}\n".encode())
    except (InvalidSignature, ValueError):
        raise Refused(f"the signature of {what} ({name}) doesn't fit its text") from None
    return text.split("\n")
