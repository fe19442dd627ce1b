"""Where new events come to stand: positions, versions, recorded instants, leaves and the tree over them. Pure.

Both ways to write a log (`writer`, `seam`) place by this one function, so what they write is alike to the byte.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from shared.errors import LogDamaged, VersionGap
from shared.events.catalogue import Entry
from shared.ids import to_text
from shared.log import merkle
from shared.log.records import Record, leaf_of

Consumed = dict[str, int]
NODE_COLUMNS = ("partition", *merkle.Node._fields)  # of `merkle_nodes`


class Head(msgspec.Struct, frozen=True):
    """A row of `partition_heads`. `next_pos` is also the size of the tree that `merkle_frontier` belongs to.

    `edition` rises when the views that are kept with the log were made anew and replaced.
    """

    next_pos: int
    consumed: Consumed
    last_recorded_at: int
    owner_epoch: int
    merkle_frontier: bytes = b""
    edition: int = 0


HEAD_COLUMNS = "next_pos, consumed, last_recorded_at, owner_epoch, merkle_frontier"  # what `head_of` looks at


def head_of(row: Mapping[str, Any], consumed: Consumed) -> Head:
    """`row` is one of `partition_heads`; what its column `consumed` gives depends on the driver."""
    return Head(row["next_pos"], consumed, row["last_recorded_at"], row["owner_epoch"], row["merkle_frontier"])


def next_instant(heads: Iterable[Head], now: int, after: int = 0) -> int:
    """One recorded instant for all that becomes known together: it runs backwards in no partition, and is later than `after`."""
    return max(now, after + 1, *(head.last_recorded_at + 1 for head in heads))


class Versioned(msgspec.Struct, frozen=True, gc=False):
    """An entry with the version it gets in its stream."""

    partition: int
    version: int
    entry: Entry


class Placed(msgspec.Struct, frozen=True):
    """What one transaction writes: the heads afterwards, events with their leaves, and completed nodes by partition."""

    heads: dict[int, Head]
    records: list[Record]
    leaves: list[bytes]
    nodes: list[tuple[int, merkle.Node]]
    before: dict[tuple[int, bytes], int]  # (partition, stream): the version that must be stored before this unit; 0: none
    newest: dict[tuple[int, bytes], int]  # (partition, stream): the version after this unit

    def to_check(self, known: Mapping[tuple[int, bytes], int]) -> list[tuple[int, bytes, int]]:
        """(partition, stream, version)s that must be stored, or versions would have a gap; `known` are newest versions that are."""
        return [(*place, version) for place, version in self.before.items() if version and known.get(place) != version]


def leaves_of(events: Sequence[Versioned], recorded_at: int) -> list[bytes]:
    return [leaf_of(event.entry, event.version, recorded_at) for event in events]


def place(
    heads: Mapping[int, Head], events: Sequence[Versioned], leaves: list[bytes], consumed: Consumed, recorded_at: int
) -> Placed:
    """`leaves` are those of the events; `recorded_at` is later than all that is recorded.

    Raises VersionGap when a stream's versions don't follow each other, LogDamaged when a head can't be one of ours.
    """
    next_pos = {partition: head.next_pos for partition, head in heads.items()}
    records = []
    by_partition: dict[int, list[bytes]] = {partition: [] for partition in heads}
    for event, leaf in zip(events, leaves, strict=True):
        partition = event.partition
        records.append(Record(partition, next_pos[partition], event.version, recorded_at, event.entry))
        by_partition[partition].append(leaf)
        next_pos[partition] += 1
    after, nodes = {}, []
    for partition, head in heads.items():
        after[partition], complete = _moved(head, by_partition[partition], consumed, recorded_at)
        nodes += [(partition, node) for node in complete]
    return Placed(after, records, leaves, nodes, *_versions(events))


def _moved(head: Head, leaves: Sequence[bytes], consumed: Consumed, recorded_at: int) -> tuple[Head, list[merkle.Node]]:
    try:
        before = merkle.unpack(head.merkle_frontier, head.next_pos)
    except ValueError as error:
        raise LogDamaged(f"the head of a partition was altered: {error}") from error
    frontier, nodes = merkle.append(head.next_pos, before, leaves)
    after = Head(
        head.next_pos + len(leaves),
        head.consumed | consumed,
        recorded_at if leaves else head.last_recorded_at,
        head.owner_epoch,
        merkle.pack(frontier),
        head.edition,
    )
    return after, nodes


def _versions(events: Sequence[Versioned]) -> tuple[dict[tuple[int, bytes], int], dict[tuple[int, bytes], int]]:
    before: dict[tuple[int, bytes], int] = {}
    newest: dict[tuple[int, bytes], int] = {}
    for event in events:
        stream = (event.partition, event.entry.stream)
        if stream not in newest:
            before[stream] = event.version - 1
        elif event.version != newest[stream] + 1:
            raise version_gap(event.entry.stream, event.version)
        newest[stream] = event.version
    return before, newest


def version_gap(stream: bytes, version: int) -> VersionGap:
    return VersionGap("versions of a stream follow each other without a gap", stream=to_text(stream), version=version)
