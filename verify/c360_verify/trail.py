"""Which streams are about one customer, as the events themselves tell."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from c360_verify import msgpack
from c360_verify.refusal import require


class HasHeader(Protocol):
    @property
    def type(self) -> str: ...

    @property
    def header(self) -> bytes: ...


Streams = Mapping[tuple[str, bytes], Sequence[HasHeader]]


def streams_of(customer: bytes, streams: Streams) -> set[tuple[str, bytes]]:
    """(log, stream): each member's in identity's and profile's log, their identifiers' decisions, and these' purposes."""
    members, waiting = {customer}, [customer]
    identifiers: set[bytes] = set()
    while waiting:
        member = waiting.pop()
        events = [event for log in ("identity", "profile") for event in streams.get((log, member), ())]
        identifiers |= set(_facts(events, "customer.linked", "value_hash", bytes))
        others = _joined(events) - members
        members |= others
        waiting += sorted(others)
    decided = {derived_id(b"decisions", value_hash) for value_hash in identifiers}
    purposes = {
        name
        for stream in decided
        for name in _facts(streams.get(("consent", stream), ()), "consent.decision_recorded", "purpose", str)
    }
    found = {(log, member) for log in ("identity", "profile") for member in members}
    return found | {("consent", stream) for stream in decided | {derived_id(b"purpose", name.encode()) for name in purposes}}


def _joined(events: Sequence[HasHeader]) -> set[bytes]:
    """Whom merges lead to that no split took back: who was split off is another person, whose streams are about her."""
    merged = zip(
        _facts(events, "customer.merged", "merge_id", bytes), _facts(events, "customer.merged", "other", bytes), strict=True
    )
    split = set(_facts(events, "customer.split", "merge_id", bytes))
    return {other for merge_id, other in merged if merge_id not in split}


def derived_id(*parts: bytes) -> bytes:
    """A name-based UUID of version 8: the first 16 bytes of the SHA-256 of the parts, joined by zero bytes."""
    digest = bytearray(hashlib.sha256(b"\0".join(parts)).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


def _facts(events: Sequence[HasHeader], kind: str, name: str, expected: type) -> Iterator[Any]:
    for event in events:
        if event.type == kind:
            header = msgpack.decode(event.header)
            fact = header.get(name) if isinstance(header, dict) else None
            require(isinstance(fact, expected), f"an event of type {kind} has no {name}: a newer c360-verify may know its form")
            yield fact
