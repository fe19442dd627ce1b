"""What identity's log tells, as rows of temporary tables, one for each kind of thing: `expected` makes of them what the tables should hold.

The tables are a session's own, and gone with it.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from services.identity.domain.erasure import Erasure, evolve, requested
from services.identity.graph.conclude import Forest
from services.identity.tables.rulebook import PARTITION
from shared.events import customer as events
from shared.events import erasure as erasure_events
from shared.events.catalogue import encode
from shared.log import LogReader, Record

PAGE_EVENTS = 5_000  # read, and copied, at once

# `pos` of the event that tells it; what is told twice, to both ends, counts where it stands first.
TABLES: Final = {
    "told_founded": "customer bytea, founding_number int8, occurred_at int8, recorded_at int8",
    "told_links": "link_id bytea, value_hash bytea, namespace text, customer bytea, own bool, pos int8",
    "told_unlinks": "link_id bytea, value_hash bytea, customer bytea, pos int8",
    "told_merges": "merge_id bytea, customer bytea, other bytea, likely bool, pos int8",
    "told_splits": "merge_id bytea",
    "told_erased": "customer bytea, erasure_id bytea",
    "told_suppressed": "value_hash bytea, erasure_id bytea, policy text, erased_at int8, pos int8",
    "told_decisions": """decision_id bytea, kind text, one bytea, other bytea, customer bytea, other_customer bytea, decided_by text,
                         reason text, decided_at int8, pos int8""",
    "told_withdrawals": "decision_id bytea, withdrawn_by text, withdrawn_reason text, withdrawn_at int8",
    "told_proposals": """proposal_id bytea, customer bytea, other bytea, reason text, cause bytea, weight float8, doubts text[], end_hash bytea,
                         proposed_at int8, pos int8""",
    "told_closings": "proposal_id bytea, state text, closed_at int8, decision_id bytea, closed_by bytea",
    "told_roots": "customer bytea, root bytea",
    "told_erasures": """erasure_id bytea, request_id text, requested_at int8, customer bytea, completed bool, erasure bytea,
                        identifier bytea, identifiers int8, policy text, begun_at int8, begun_pos int8""",
    "told_holds": """hold_id bytea, request_id text, customer bytea, reason text, placed_by text, placed_at int8, released_at int8,
                     members bytea[]""",
}
Rows = dict[str, list[tuple[Any, ...]]]


class Told:
    """Follows the log over one connection. Erasures and holds, of which there are few, stay in memory until `finish`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._erasures: dict[bytes, Erasure] = {}
        self._begun: dict[bytes, int] = {}  # where
        self._holds: dict[bytes, tuple[Any, ...]] = {}
        self.next_pos = 0

    async def begin(self) -> None:
        for table, columns in TABLES.items():
            await self._connection.execute(f"CREATE TEMPORARY TABLE {table} ({columns})")

    async def follow(self) -> bool:
        """A page of the log; whether there was one."""
        records = await LogReader(self._connection).partition(PARTITION, self.next_pos, PAGE_EVENTS)
        if not records:
            return False
        self.next_pos = records[-1].pos + 1
        for record in records:
            self._take(record)
        for table, rows in rows_of(records).items():
            await self._connection.copy_records_to_table(table, records=rows)
        return True

    async def finish(self) -> None:
        """All is read, for now. Who answers for whom is found here: by merges, which are few."""
        await self._connection.execute("TRUNCATE told_holds, told_erasures, told_roots")  # of an earlier end
        await self._connection.copy_records_to_table("told_holds", records=self._holds.values())
        rows = [
            (
                *(one.erasure_id, one.request_id, one.requested_at, one.customer, one.stage == "completed", encode(one)),
                *(one.identifier, one.identifiers, one.policy, one.begun_at, self._begun.get(one.erasure_id)),
            )
            for one in self._erasures.values()
        ]
        await self._connection.copy_records_to_table("told_erasures", records=rows)
        await self._connection.copy_records_to_table("told_roots", records=await self._roots())
        for table in TABLES:
            await self._connection.execute(f"ANALYZE {table}")

    async def _roots(self) -> list[tuple[bytes, bytes]]:
        edges = await self._connection.fetch(
            "SELECT customer, other FROM told_merges WHERE merge_id NOT IN (SELECT merge_id FROM told_splits)"
        )
        joined = {end for edge in edges for end in edge}
        rows = await self._connection.fetch(
            "SELECT customer, founding_number FROM told_founded WHERE customer = ANY($1::bytea[])", list(joined)
        )
        forest = Forest(dict(map(tuple, rows)))
        for one, other in edges:
            forest.join(one, other)
        return [(customer, forest.root(customer)) for customer in joined]

    def _take(self, record: Record) -> None:
        entry = record.entry
        if entry.type_id == erasure_events.REQUESTED.id:
            self._erasures[entry.stream] = requested(entry.stream, entry.public(), entry.occurred_at)
        elif entry.stream in self._erasures:
            self._erasures[entry.stream] = evolve(self._erasures[entry.stream], entry.public(), entry.occurred_at)
            if entry.type_id == erasure_events.BEGUN.id:
                self._begun[entry.stream] = record.pos
        elif entry.type_id == erasure_events.HOLD_PLACED.id:
            held = entry.public()
            who = held.request_id, held.customer, held.reason, held.placed_by
            self._holds[entry.stream] = entry.stream, *who, entry.occurred_at, None, held.members
        elif entry.type_id == erasure_events.HOLD_RELEASED.id:
            *rest, _, members = self._holds[entry.stream]
            self._holds[entry.stream] = *rest, entry.occurred_at, members


def rows_of(records: Sequence[Record]) -> Rows:
    """Of customers' streams; by table."""
    rows: Rows = defaultdict(list)
    for record in records:
        _tell(rows, record)
    return rows


def _tell(rows: Rows, record: Record) -> None:
    entry, pos = record.entry, record.pos
    stream, at = entry.stream, entry.occurred_at
    match entry.public():
        case events.CustomerFounded() as said:
            rows["told_founded"].append((stream, said.founding_number, at, record.recorded_at))
        case events.IdentifierLinked() as said:  # the first one is what it was founded by
            own = record.version == 2
            rows["told_links"].append((entry.event_id, said.value_hash, said.namespace, stream, own, pos))
        case events.IdentifierUnlinked() as said:
            rows["told_unlinks"].append((said.link_id, said.value_hash, stream, pos))
        case events.CustomersMerged() as said:
            rows["told_merges"].append((said.merge_id, stream, said.other, said.likely, pos))
        case events.CustomersSplit() as said:
            rows["told_splits"].append((said.merge_id,))
        case events.CustomerErased() as said:
            rows["told_erased"].append((stream, said.erasure_id))
            rows["told_suppressed"] += [(h, said.erasure_id, said.policy, at, pos) for h in said.identifier_hashes]
        case events.MergeDecided() | events.MergeForbidden() as said:
            kind = "merge" if entry.type_id == events.MERGE_DECIDED.id else "forbid"
            ends = said.value_hash, said.other_value_hash, stream, said.other
            rows["told_decisions"].append((said.decision_id, kind, *ends, said.decided_by, said.reason, at, pos))
        case events.DecisionWithdrawn() as said:
            rows["told_withdrawals"].append((said.decision_id, said.withdrawn_by, said.reason, at))
        case events.MergeProposed() as said:
            why = said.reason, said.cause, said.match_weight, said.doubts, said.value_hash
            rows["told_proposals"].append((said.proposal_id, stream, said.other, *why, record.recorded_at, pos))
        case events.ProposalClosed() as said:
            rows["told_closings"].append(
                (said.proposal_id, said.state, record.recorded_at, said.decision_id or None, said.cause or None)
            )
