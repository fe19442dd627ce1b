"""Ids are 16 bytes inside, UUID text at the edges."""

import hashlib
import uuid
from collections.abc import Callable

from shared.errors import InvalidInput
from shared.instants import Clock
from shared.randomness import draw

NewId = Callable[[], bytes]

VERSION_AND_VARIANT = 7 << 76 | 0b10 << 62
RANDOM_BITS = 0xFFF << 64 | (1 << 62) - 1  # of an id, those that are not time, version and variant


def id_maker(clock: Clock, random: Callable[[int], bytes] = draw) -> NewId:
    """Makes UUIDs of version 7 (RFC 9562): they sort by time, so indexes over them stay local."""

    def new_id() -> bytes:
        return (clock() // 1000 << 80 | VERSION_AND_VARIANT | int.from_bytes(random(10)) & RANDOM_BITS).to_bytes(16)

    return new_id


def to_text(identity: bytes) -> str:
    return str(uuid.UUID(bytes=identity))


def from_text(text: str, what: str) -> bytes:
    """Raises InvalidInput (`<WHAT>_ID_INVALID`)."""
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        raise InvalidInput(f"a {what} id is a UUID", reason=f"{what.upper()}_ID_INVALID") from None


def derived_id(*parts: bytes) -> bytes:
    """The same parts always give the same id (a name-based UUID of version 8, SHA-256)."""
    digest = bytearray(hashlib.sha256(b"\0".join(parts)).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


def partition_of(key: bytes, partitions: int) -> int:
    """Which partition a stream or hash belongs to; ids of version 7 are random in their last bytes."""
    return int.from_bytes(key[-4:]) % partitions
