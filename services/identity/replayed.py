"""Who was who as it was known at an instant: what was concluded by then, replayed from the streams of customers."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from services.identity.graph.conclude import Concluded
from services.identity.graph.facts import Node
from services.identity.ledger import IDENTITY_PARTITION
from services.identity.tables import erasures, resting, views
from services.identity.tables.views import Resolved
from shared.errors import NotFound
from shared.events import customer as events
from shared.ids import to_text
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record
from shared.log.reader import Stretch


async def customer_at(pool: Any, reader: LogReader, value_hash: bytes, known_at: int) -> bytes | None:
    """The customer that an identifier was linked to."""
    rows = await pool.fetch(
        """SELECT customer FROM identifiers WHERE value_hash = $1 AND customer IS NOT NULL
           UNION SELECT customer FROM former_links WHERE value_hash = $1""",
        value_hash,
    )
    records = await reader.streams([(IDENTITY_PARTITION, row["customer"]) for row in rows], known_at)
    return linked_to(records, value_hash)


async def concluded_at(connection: Any, nodes: Collection[Node], known_at: int) -> Concluded:
    """What was concluded of these identifiers, without customers who were erased since."""
    node_of = {node.value_hash: node for node in nodes}
    rows = await connection.fetch(
        """SELECT value_hash, customer, own FROM identifiers WHERE value_hash = ANY($1::bytea[]) AND customer IS NOT NULL
           UNION SELECT value_hash, customer, false FROM former_links WHERE value_hash = ANY($1::bytea[])""",
        list(node_of),
    )
    customers = {row["customer"] for row in rows}
    present = sorted(customers - await erasures.erased_among(connection, customers))
    known = concluded(await LogReader(connection).streams([(IDENTITY_PARTITION, one) for one in present], known_at), node_of)
    known.own = {
        node_of[row["value_hash"]]: row["customer"] for row in rows if row["own"] and row["customer"] in known.founding_numbers
    }
    return known


async def resolving_among(connection: Any, known: Concluded) -> set[Node]:
    """Of what was linked to the customer that it founded: those that an event resolved by, as far as that is known now."""
    linked = {node.value_hash: node for node, customer in known.own.items() if known.links.get(node) == customer}
    rows = await connection.fetch(
        "SELECT value_hash FROM identifiers WHERE value_hash = ANY($1::bytea[]) AND resolving", list(linked)
    )
    return {linked[row["value_hash"]] for row in rows}


def concluded(records: Iterable[Record], node_of: Mapping[bytes, Node]) -> Concluded:
    """`records` are streams, each in its order: their links of these identifiers, and the merges among them."""
    known, links = Concluded(), dict[bytes, tuple[int, Node, bytes]]()
    for record in records:
        entry, public = record.entry, record.entry.public()
        if entry.type_id == events.FOUNDED.id:
            known.founding_numbers[entry.stream] = public.founding_number
        elif entry.type_id == events.LINKED.id and public.value_hash in node_of:
            links[entry.event_id] = record.pos, node_of[public.value_hash], entry.stream
        elif entry.type_id == events.UNLINKED.id:
            links.pop(public.link_id, None)
        elif entry.type_id == events.MERGED.id:
            known.edges[public.merge_id] = entry.stream, public.other
            known.likely |= {public.merge_id} if public.likely else set()
        elif entry.type_id == events.SPLIT.id:
            known.edges.pop(public.merge_id, None)
            known.likely.discard(public.merge_id)
    known.links = {node: customer for _, node, customer in sorted(links.values())}  # the newest, had it several
    known.edges = {merge_id: ends for merge_id, ends in known.edges.items() if known.founding_numbers.keys() >= set(ends)}
    known.next_founding_number = max(known.founding_numbers.values(), default=-1) + 1
    return known


async def linked_at(connection: Any, wanted: Node | bytes, known_at: int = END_OF_TIME) -> bytes | None:
    """The customer that an identifier was linked to itself, which stays so when a merge is undone."""
    if not isinstance(wanted, Node):
        return wanted
    if known_at == END_OF_TIME:
        resolved = await views.resolve(connection, wanted.value_hash)
        return resolved.customer if resolved else None
    return await customer_at(connection, LogReader(connection), wanted.value_hash, known_at)


async def members_at(connection: Any, customer: bytes, known_at: int = END_OF_TIME) -> list[bytes]:
    """Of the cluster that it was in, those that are present still. Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
    present = await views.present_members(connection, customer)
    if known_at == END_OF_TIME:
        return present
    cluster = await cluster_at(LogReader(connection), customer, known_at)
    if not cluster:
        raise nobody_yet(customer)
    erased = await erasures.erased_among(connection, cluster)
    return [member for member in cluster if member not in erased]


async def resolved_at(connection: Any, node: Node, known_at: int) -> Resolved | None:
    """What `views.resolve` would have found."""
    reader = LogReader(connection)
    customer = await customer_at(connection, reader, node.value_hash, known_at)
    if customer is None:
        return None
    cluster = await cluster_at(reader, customer, known_at)
    erased = await erasures.erased_among(connection, cluster)
    if customer in erased:
        return None
    return Resolved(customer, next(member for member in cluster if member not in erased))


async def proposals_between(connection: Any, one: bytes, other: bytes, known_at: int) -> tuple[list[bytes], list[bytes]]:
    """Ids of those that were open, oldest first, and of those that rested, of the customers that are present still."""
    ones, others = [await members_at(connection, end, known_at) for end in (one, other)]
    kinds = [events.MERGE_PROPOSED.id, events.PROPOSAL_CLOSED.id]
    records = await LogReader(connection).of_types([(IDENTITY_PARTITION, member) for member in ones], kinds, known_at)
    between = sorted((record for record in records if record.entry.public().other in others), key=lambda record: record.pos)
    closed = {(said := r.entry.public()).proposal_id: said.state for r in between if r.entry.type_id == events.PROPOSAL_CLOSED.id}
    still_open = list(dict.fromkeys(found for r in between if (found := r.entry.public().proposal_id) not in closed))
    expired = [found for found, state in closed.items() if state == "expired"]
    return still_open, await resting.still(connection, expired, known_at) if expired else []


class Founder(NamedTuple):
    founding_number: int
    customer: bytes
    node: Node


async def founders(connection: Any, group: Iterable[Node], known_at: int) -> list[Founder]:
    """The customers that these identifiers founded, as far as it was known; oldest first."""
    nodes = {node.value_hash: node for node in group}
    rows = await connection.fetch(
        "SELECT value_hash, customer FROM identifiers WHERE value_hash = ANY($1::bytea[]) AND own", list(nodes)
    )
    node_of = {row["customer"]: nodes[row["value_hash"]] for row in rows}
    first = [Stretch(IDENTITY_PARTITION, customer, 1, 1) for customer in node_of]
    records = await LogReader(connection).history(first, known_at=known_at)
    entries = [record.entry for record in records]
    return sorted(Founder(entry.public().founding_number, entry.stream, node_of[entry.stream]) for entry in entries)


def nobody_yet(customer: bytes) -> NotFound:
    return NotFound("there was no such customer by then", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))


def linked_to(records: Iterable[Record], value_hash: bytes) -> bytes | None:
    """`records` are streams, each in its order; of the customers they are about, the one that the identifier is linked to, or was last."""
    links: dict[bytes, tuple[int, bytes]] = {}
    for record in records:
        entry, public = record.entry, record.entry.public()
        if entry.type_id == events.LINKED.id and public.value_hash == value_hash:
            links[entry.event_id] = record.pos, entry.stream
        elif entry.type_id == events.UNLINKED.id:
            links.pop(public.link_id, None)
    return max(links.values())[1] if links else None


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
