"""Who was who as it was known at an instant: what was concluded by then, replayed from the streams of customers."""

from collections.abc import Iterable
from typing import Any

from services.identity.ledger import IDENTITY_PARTITION
from shared.events import customer as events
from shared.log import LogReader, Record


async def customer_at(pool: Any, reader: LogReader, value_hash: bytes, known_at: int) -> bytes | None:
    """The customer that an identifier was linked to."""
    rows = await pool.fetch(
        """SELECT customer FROM identifiers WHERE value_hash = $1 AND customer IS NOT NULL
           UNION SELECT customer FROM former_links WHERE value_hash = $1""",
        value_hash,
    )
    records = await reader.streams([(IDENTITY_PARTITION, row["customer"]) for row in rows], known_at)
    return linked_to(records, value_hash)


def linked_to(records: Iterable[Record], value_hash: bytes) -> bytes | None:
    """`records` are streams, each in its order; of the customers they are about, the one that the identifier is linked to."""
    links: dict[bytes, bytes] = {}
    for record in records:
        entry, public = record.entry, record.entry.public()
        if entry.type_id == events.LINKED.id and public.value_hash == value_hash:
            links[entry.event_id] = entry.stream
        elif entry.type_id == events.UNLINKED.id:
            links.pop(public.link_id, None)
    return next(iter(links.values()), None)


async def cluster_at(reader: LogReader, customer: bytes, known_at: int) -> dict[bytes, list[Record]]:
    """{customer: its stream} of all that merges joined to one, oldest first; empty when it wasn't founded yet."""
    streams: dict[bytes, list[Record]] = {}
    numbers: dict[bytes, int] = {}
    waiting = {customer}
    while waiting:
        found: dict[bytes, list[Record]] = {stream: [] for stream in waiting}
        for record in await reader.streams([(IDENTITY_PARTITION, stream) for stream in sorted(waiting)], known_at):
            found[record.entry.stream].append(record)
        streams |= {stream: records for stream, records in found.items() if records}
        numbers |= {record.entry.stream: number for records in found.values() for record, number in _foundings(records)}
        waiting = {other for records in found.values() for other in joined_to(records)} - streams.keys()
    return {member: streams[member] for member in sorted(streams, key=numbers.__getitem__)}


def _foundings(records: Iterable[Record]) -> Iterable[tuple[Record, int]]:
    return ((record, record.entry.public().founding_number) for record in records if record.entry.type_id == events.FOUNDED.id)


def joined_to(stream: Iterable[Record]) -> set[bytes]:
    """The customers that merges join to the one this stream is about."""
    edges: dict[bytes, bytes] = {}
    for record in stream:
        if record.entry.type_id == events.MERGED.id:
            edges[record.entry.public().merge_id] = record.entry.public().other
        elif record.entry.type_id == events.SPLIT.id:
            edges.pop(record.entry.public().merge_id, None)
    return set(edges.values())
