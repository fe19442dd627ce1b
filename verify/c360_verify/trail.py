"""Which streams are about one customer, as the events themselves tell."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from c360_verify import msgpack
from c360_verify.refusal import require

DECISION: Final = "consent.decision_recorded"
MUST_BE: Final = object()  # of a fact that may not be absent


class HasHeader(Protocol):
    @property
    def type(self) -> str: ...

    @property
    def header(self) -> bytes: ...


Streams = Mapping[tuple[str, bytes], Sequence[HasHeader]]


def streams_of(customer: bytes, streams: Streams) -> set[tuple[str, bytes]]:
    """(log, stream): each member's in identity's and profile's log, their identifiers' decisions, and what these refer to: purposes,
    the notices that were shown, and the controllers of both."""
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
    found = {(log, member) for log in ("identity", "profile") for member in members}
    return found | {("consent", stream) for stream in decided | _referred(decided, streams)}


def _referred(decided: set[bytes], streams: Streams) -> set[bytes]:
    def events(kept: set[bytes]) -> list[HasHeader]:
        return [event for stream in sorted(kept) for event in streams.get(("consent", stream), ())]

    decisions = events(decided)
    purposes = {derived_id(b"purpose", name.encode()) for name in _facts(decisions, DECISION, "purpose", str)}
    shown = [notice for notice in _facts(decisions, DECISION, "notice", dict, None) if notice is not None]
    require(all(isinstance(notice.get("name"), str) for notice in shown), "a decision names no notice that was shown")
    notices = {derived_id(b"notice", notice["name"].encode()) for notice in shown}
    controllers = {
        derived_id(b"controller", name.encode())
        for kind, kept in (("consent.purpose_defined", purposes), ("consent.notice_defined", notices))
        for name in _facts(events(kept), kind, "controller", str, "")
        if name
    }
    return purposes | notices | controllers


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


def _facts(events: Sequence[HasHeader], kind: str, name: str, expected: type, absent: Any = MUST_BE) -> Iterator[Any]:
    for event in events:
        if event.type == kind:
            header = msgpack.decode(event.header)
            fact = header.get(name, absent) if isinstance(header, dict) else MUST_BE
            known = fact is not MUST_BE and (fact is absent or isinstance(fact, expected))
            require(known, f"an event of type {kind} has no {name}: a newer c360-verify may know its form")
            yield fact
