"""Works out what new statements change: records, the blocks they are in, and which of them are alike. Writes nothing."""

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.identity.matching import blocking
from services.identity.matching.blocking import MAX_BLOCK_RECORDS
from services.identity.matching.households import household_of
from services.identity.records.likeness import Comparer, Kept, Likeness, RecordPair, record_pair
from services.identity.records.proposing import Blocks, Key, Proposed, propose, withdrawn
from services.identity.records.said import (
    READ_BACK,
    Said,
    Statements,
    completed_by,
    decode_statements,
    disagree,
    encode_statements,
    last_of,
    merge,
    person_of,
    sayings,
)
from services.identity.tables import record_tables
from services.identity.tables.record_rows import RecordRow, Times
from services.identity.tables.record_tables import Changes
from services.identity.tables.regions import Loaded
from shared.telemetry import logger
from shared.vault import DataKey, EnvelopeBroken, Vault

KEY_BYTES = 8  # of a keyed hash; two keys of one hash cost a comparison in vain
KEPT_PERSONS = 20_000  # opened records that are remembered, about 1 KB each
PAIRS_A_BREATH = 500  # compared before others have their turn: about 5 ms

log = logger("matching")


@dataclass(frozen=True, slots=True)
class Heard:
    """What a source said of the customer that an identifier founded."""

    value_hash: bytes
    source: str
    customer: bytes
    statements: Statements
    earliest: int  # when the first event of them happened
    several: bool = False  # of several events; what was so between these isn't kept
    disagreeing: bool = False  # they said different things of one field

    def and_before(self, before: "Heard") -> "Heard":
        return replace(
            self,
            statements=merge(before.statements, self.statements),
            earliest=min(before.earliest, self.earliest),
            several=True,
            disagreeing=before.disagreeing or disagree(before.statements, self.statements),
        )

    @property
    def read_back(self) -> bool:
        return any(said.unit == READ_BACK for said in self.statements.values())

    def ordered_from(self, known: Statements, merged: Statements, same: bool) -> int:
        """From when on it is known what was said when: all that came out of order, or at once with something else, is before."""
        last = last_of(known.values()).occurred_at
        if self.disagreeing or (self.several and not same):
            return last_of(merged.values()).occurred_at
        return last if self.earliest < last else 0


@dataclass(slots=True)
class Plan:
    """`touched` are the identifiers whose matches change."""

    changes: Changes = field(default_factory=Changes)
    touched: set[bytes] = field(default_factory=set)
    opened: list[Kept] = field(default_factory=list)  # as the records are afterwards

    def amend(self, loaded: Loaded) -> Sequence[Any]:
        """The facts of a region that is loaded, as they are with these changes."""
        nodes, recorded_by = loaded.nodes(), loaded.region.facts.recorded_by
        for row in self.changes.records:
            if (node := nodes.get(row.value_hash)) is not None:
                recorded_by[node] = recorded_by.get(node, frozenset()) | {row.source}
        for gone in self.changes.gone:
            loaded.likenesses.pop(gone, None)
        for ids, like in self.changes.likenesses.items():
            if like.one in nodes and like.other in nodes:
                loaded.likenesses[ids] = like
        loaded.match()
        for kept in self.opened:
            if kept.record_id in self.changes.said and kept.value_hash in nodes:
                loaded.said_anew[nodes[kept.value_hash]] = kept.last
        return ()


class Comparing:
    """`comparer` is the model in force. What was opened is remembered, until `forget`."""

    def __init__(self, pool: Any, vault: Vault, comparer: Comparer, cap: int = MAX_BLOCK_RECORDS) -> None:
        self.comparer = comparer
        self._cap = cap
        self._pool = pool
        self._vault = vault
        self._opened: OrderedDict[bytes, Kept] = OrderedDict()

    def forget(self) -> None:
        """Something was erased."""
        self._opened.clear()

    def saved(self, plan: Plan) -> None:
        for kept in plan.opened:
            self._remember(kept)

    async def plan(self, heard: Mapping[bytes, Heard], returned: Collection[Key]) -> Plan:
        """`heard` by record id; `returned` are blocks that are below their cap since an erasure."""
        plan = Plan(Changes(returned=returned))
        founders = await record_tables.founders(self._pool, {one.value_hash for one in heard.values()}) if heard else {}
        heard = {record_id: one for record_id, one in heard.items() if founders.get(one.value_hash) == one.customer}
        before = await record_tables.records(self._pool, heard.keys()) if heard else {}
        keys = await self._vault.keys({one.customer for one in heard.values()})
        changed: dict[bytes, Kept] = {}
        for record_id, one in heard.items():
            if one.customer in keys and (kept := self._merge(plan, record_id, one, before.get(record_id), keys[one.customer])):
                changed[record_id] = kept
        if changed or returned:
            await self._compare(plan, changed, before, returned)
        return plan

    def _merge(self, plan: Plan, record_id: bytes, heard: Heard, row: RecordRow | None, key: DataKey) -> Kept | None:
        """Adds what is said to its record. None: nothing changes for those it is compared with, nor what that rests on.

        A record that can't be opened stays as it is: what it said before is lost only if it is written over.
        """
        said = _open(row, key) if row is not None else {}
        if said is None:
            return None
        merged = merge(said, heard.statements)
        same = row is not None and person_of(merged) == person_of(said)
        before = row.times if row is not None else Times(known_since=0 if heard.read_back else None)
        times = before._replace(ordered_from=max(before.ordered_from, heard.ordered_from(said, merged, same)))
        if row is not None and (merged, times) == (said, before):
            return None
        kept = self._keep(plan, record_id, heard, merged, key, times if same else times._replace(same_since=None))
        if not same:
            plan.changes.said[record_id] = heard.earliest
        return None if same and sayings(said.values()) == kept.said_by else kept

    async def again(self, rows: Mapping[bytes, RecordRow]) -> Plan:
        """Compares records that are known with all that they meet, as if they had just come."""
        plan, changed = Plan(), {}
        keys = await self._vault.keys({row.customer for row in rows.values()})
        for record_id, row in rows.items():
            if (key := keys.get(row.customer)) is not None and (said := _open(row, key)):
                heard = Heard(row.value_hash, row.source, row.customer, said, 0)
                changed[record_id] = self._keep(plan, record_id, heard, said, key, row.times)
        if changed:
            await self._compare(plan, changed, rows, ())
        return plan

    async def likenesses(self, rows: Mapping[bytes, RecordRow]) -> dict[RecordPair, Likeness]:
        """All that these records match, in the blocks as they are stored."""
        opened = await self.open(rows)
        members = await record_tables.members(self._pool, {key for i in opened for key in rows[i].block_keys}, self._cap + 1)
        pairs = {
            record_pair(one, other)
            for one in opened
            for key in rows[one].block_keys
            if len(members[key]) <= self._cap
            for other in members[key] - {one}
        }
        return (await self._likenesses(pairs, opened))[0]

    def _keep(self, plan: Plan, record_id: bytes, heard: Heard, said: Statements, key: DataKey, times: Times) -> Kept:
        kept = kept_of(record_id, heard.value_hash, heard.source, said)
        household = household_of(kept.person)
        plan.changes.records.append(
            RecordRow(
                record_id,
                heard.value_hash,
                heard.source,
                heard.customer,
                sorted({self._hashed("block", key) for key in blocking.keys(kept.person)}),
                self._hashed("household", "\x1f".join(household)) if household else None,
                key.seal(encode_statements(said), record_binding(record_id)),
                *times,
            )
        )
        plan.opened.append(kept)
        return kept

    async def _compare(
        self, plan: Plan, changed: Mapping[bytes, Kept], rows: Mapping[bytes, RecordRow], returned: Collection[Key]
    ) -> None:
        keys_of = {row.record_id: frozenset(row.block_keys) for row in plan.changes.records if row.record_id in changed}
        blocks = Blocks(keys_of={i: frozenset(rows[i].block_keys) for i in changed if i in rows}, cap=self._cap)
        touched = {key for keys in (*keys_of.values(), *blocks.keys_of.values()) for key in keys} | set(returned)
        blocks.members = await record_tables.members(self._pool, touched, self._cap + len(changed) + 1)
        proposed = propose(blocks, keys_of, returned)
        known = await record_tables.likenesses_of(self._pool, changed.keys()) if changed else {}
        found, unknown = await self._likenesses(proposed.pairs, changed)
        plan.changes.gone = (known.keys() - found.keys() - unknown) | await self._withdrawn(proposed, changed.keys())
        plan.changes.likenesses = {
            ids: like
            for ids, one in found.items()  # of what both say otherwise it was another one between the two
            if (like := one if plan.changes.said.keys() >= set(ids) else one.news(known.get(ids))) is not None
        }
        before = known | await record_tables.likenesses_between(self._pool, {one for ids in plan.changes.gone for one in ids})
        for like in [*plan.changes.likenesses.values(), *(before[ids] for ids in plan.changes.gone)]:
            plan.touched |= {like.one, like.other}
        for record_id, keys in keys_of.items():
            was = blocks.keys_of.get(record_id, frozenset())
            plan.changes.unblocked[record_id], plan.changes.blocked[record_id] = set(was - keys), set(keys - was)

    async def _withdrawn(self, proposed: Proposed, changed: Collection[bytes]) -> set[RecordPair]:
        """Pairs that a block that is retired now proposed, and no other does."""
        inside = {record_id for members in proposed.retired.values() for record_id in members} - set(changed)
        if not inside:
            return set()
        pairs = await record_tables.likenesses_between(self._pool, inside)
        rows = await record_tables.records(self._pool, {one for ids in pairs for one in ids})
        keys_of = {record_id: row.block_keys for record_id, row in rows.items()}
        unchanged = {key for keys in keys_of.values() for key in keys} - proposed.sizes.keys()
        sizes = proposed.sizes | await record_tables.sizes(self._pool, unchanged, self._cap)
        return withdrawn(pairs, keys_of, sizes, self._cap)

    async def _likenesses(
        self, pairs: Iterable[RecordPair], changed: Mapping[bytes, Kept]
    ) -> tuple[dict[RecordPair, Likeness], set[RecordPair]]:
        """What is alike; and the pairs of which nobody knows, because a record of theirs doesn't open."""
        ordered = sorted(pairs)
        opened = dict(changed) | await self._open_all({one for ids in ordered for one in ids} - changed.keys())
        known = [(one, other) for one, other in ordered if one in opened and other in opened]
        found = {}
        for number, (one, other) in enumerate(known):
            if (like := self.comparer.compare(opened[one], opened[other])) is not None:
                found[one, other] = like
            if number % PAIRS_A_BREATH == PAIRS_A_BREATH - 1:
                await asyncio.sleep(0)
        return found, set(ordered).difference(known)

    async def _open_all(self, ids: Collection[bytes]) -> dict[bytes, Kept]:
        opened = {record_id: kept for record_id in ids if (kept := self._opened.get(record_id)) is not None}
        opened |= await self.open(await record_tables.records(self._pool, set(ids) - opened.keys()))
        for kept in opened.values():
            self._remember(kept)
        return opened

    async def open(self, rows: Mapping[bytes, RecordRow]) -> dict[bytes, Kept]:
        """By record id; nothing of what is erased, or doesn't open."""
        keys = await self._vault.keys({row.customer for row in rows.values()}) if rows else {}
        opened = {}
        for record_id, row in rows.items():
            if row.customer in keys and (said := _open(row, keys[row.customer])) is not None:
                opened[record_id] = kept_of(record_id, row.value_hash, row.source, said)
        return opened

    def _remember(self, kept: Kept) -> None:
        self._opened[kept.record_id] = kept
        self._opened.move_to_end(kept.record_id)
        while len(self._opened) > KEPT_PERSONS:
            self._opened.popitem(last=False)

    def _hashed(self, what: str, value: str) -> bytes:
        return hmac.digest(self._vault.lookup_key, f"{what}\0{value}".encode(), hashlib.sha256)[:KEY_BYTES]


def kept_of(record_id: bytes, value_hash: bytes, source: str, statements: Statements) -> Kept:
    said = statements.values()
    return Kept(record_id, value_hash, source, person_of(statements), completed_by(said), sayings(said), last_of(said))


def _open(row: RecordRow, key: DataKey) -> dict[str, Said] | None:
    """None: its live key doesn't open it."""
    try:
        return decode_statements(key.open(row.sealed, record_binding(row.record_id)))
    except EnvelopeBroken:
        log.error("a record can't be opened", record=row.record_id.hex())
        return None


def record_binding(record_id: bytes) -> bytes:
    return b"record" + record_id
