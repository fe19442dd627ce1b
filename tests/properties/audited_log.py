"""A partition as its tables hold it, in memory, for tests that tamper with it and let it be audited."""

from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.events.catalogue import Entry
from shared.log import merkle, notes
from shared.log.audit import PartitionAudit
from shared.log.findings import Finding
from shared.log.merkle import Node
from shared.log.notes import Checkpoint
from shared.log.placing import Head, Versioned, leaves_of, place
from shared.log.raw import RawCheckpoint, RawEvent, RawHead
from shared.log.records import leaf_of

ORIGIN = "customer360/0123456789abcdef/profile/0"
NOW = 1_700_000_000_000_000


class TestSigner:
    __test__ = False

    def __init__(self, seed: bytes = bytes(32)) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


SIGNER = TestSigner()


class AuditedLog:
    """Filled by units of the given sizes; a checkpoint after each unit whose number is in `signed`."""

    def __init__(self, units: Sequence[int], signed: Sequence[int], streams: int = 5) -> None:
        self.head = Head(0, {}, 0, 1)
        self.events: list[RawEvent] = []
        self.nodes: list[Node] = []
        self.checkpoints: list[RawCheckpoint] = []
        self._versions = [0] * streams
        for number, size in enumerate(units):
            self.append(size)
            if number in signed:
                self.sign()

    def append(self, count: int) -> None:
        new = [self._next(len(self.events) + at) for at in range(count)]
        placed = place({0: self.head}, new, leaves_of(new, NOW), {}, NOW)
        self.head = placed.heads[0]
        self.events += [RawEvent(record, leaf) for record, leaf in zip(placed.records, placed.leaves, strict=True)]
        self.nodes += [node for _, node in placed.nodes]

    def sign(self) -> None:
        root = merkle.root_of(merkle.unpack(self.head.merkle_frontier, self.head.next_pos))
        self.checkpoints.append(self.signed(self.head.next_pos, root))

    def signed(self, size: int, root: bytes) -> RawCheckpoint:
        return RawCheckpoint(size, notes.signed(Checkpoint(ORIGIN, size, root).text(), SIGNER))

    def audit(self) -> list[Finding]:
        last = max((event.record.pos for event in self.events), default=-1)
        head = RawHead(0, self.head, 0, last)
        audit = PartitionAudit(head, self.nodes, self.checkpoints, ORIGIN, SIGNER.public_key)
        for event in sorted(self.events, key=lambda event: event.record.pos):
            audit.add(event)
        return audit.finish()

    def found(self) -> list[tuple[str, int | None, int | None]]:
        return [(finding.code, finding.first, finding.last) for finding in self.audit()]

    def alter(self, position: int, *, with_leaf: bool = False, **fields: object) -> None:
        """Fields of the entry, or `version`, `recorded_at`."""
        event = self.events[position]
        own = {name: fields.pop(name) for name in ("version", "recorded_at") if name in fields}
        record = msgspec.structs.replace(event.record, entry=msgspec.structs.replace(event.entry, **fields), **own)
        leaf = leaf_of(record.entry, record.version, record.recorded_at) if with_leaf else event.leaf
        self.events[position] = RawEvent(record, leaf)

    def swap(self, one: int, other: int) -> None:
        """Positions alone: each leaf still fits its event."""
        first, second = self.events[one], self.events[other]
        self.events[one] = msgspec.structs.replace(second, record=msgspec.structs.replace(second.record, pos=one))
        self.events[other] = msgspec.structs.replace(first, record=msgspec.structs.replace(first.record, pos=other))

    def _next(self, number: int) -> Versioned:
        stream = number * 7 % len(self._versions)
        self._versions[stream] += 1
        entry = Entry(bytes([stream]) * 16, number.to_bytes(16), "customer.tracked", 1, number, b"header", b"envelope")
        return Versioned(0, self._versions[stream], entry)
