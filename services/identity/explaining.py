"""Use cases that only read: why two are one or two, who an identifier named, and how a customer came to be."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.identity import recall, replayed
from services.identity.comparing import Comparing
from services.identity.domain.decision import Decision
from services.identity.graph.explain import Explained, explain
from services.identity.graph.facts import Node
from services.identity.graph.resolve import Link
from services.identity.graph.rules import Rules
from services.identity.graph.standing import Standing
from services.identity.graph_writer import GraphWriter
from services.identity.grounding import Grounded, ground
from services.identity.ledger import Ledger
from services.identity.nobody import nobody
from services.identity.recall import Instants, Recalled, Told
from services.identity.records.likeness import Comparer
from services.identity.tables import alone, decisions, erasures, modelbook, record_rows, rulebook, views
from services.identity.tables.rulebook import Activation
from services.identity.tables.views import Resolved
from services.identity.weighing import Grounds, Weighed, Weighing
from shared.errors import InvalidInput, NotFound, WrongState
from shared.events import customer as events
from shared.events.catalogue import Public
from shared.instants import END_OF_TIME, Clock
from shared.log import LogReader, Record
from shared.store.pool import snapshot

MOST_AT_ONCE = 3  # requests under way; the connections that are left are the writer's and those of plain look-ups


class Named(NamedTuple):
    """One of two that are explained: the identifier, and the customer that it names (None: it is shared and names nobody)."""

    node: Node
    customer: bytes | None


@dataclass(slots=True)
class Why:
    one: Named
    other: Named
    explained: Explained
    rules: Rules
    told: dict[bytes, Told] = field(default_factory=dict)  # by event id
    grounded: Grounded = field(default_factory=Grounded)  # by what the obstacles and decisions are so
    proposals: list[bytes] = field(default_factory=list)  # of the two, open as it was known; none as of an instant
    resting: list[bytes] = field(default_factory=list)  # likewise; they expired, and neither of the two was seen since
    grounds: dict[Link, Grounds] = field(default_factory=dict)  # of the links that are matches
    vetoes: list[str] = field(default_factory=list)  # by which their records tell two apart that are alike
    household: bool = False  # whether two live together, by what is said now; told of no past instant


@dataclass(slots=True)
class History:
    """`records` in the order of the log, each merge and proposal once; `namespaces` by value hash.

    `erased` are customers that these were merged with, or were to be: their ids aren't told, nor what people wrote about both.
    """

    members: list[bytes]
    records: list[Record]
    namespaces: dict[bytes, str]
    others: dict[bytes, Node]  # the other ends of decisions, by value hash
    erased: set[bytes] = field(default_factory=set)
    decisions: dict[bytes, Decision] = field(default_factory=dict)  # those that caused any of it, by id
    spent: set[bytes] = field(default_factory=set)  # ids of those that caused any of it and went with an erasure
    activations: list[Activation] = field(default_factory=list)  # all versions of the rules

    def other_of(self, record: Record) -> bytes | None:
        """The other customer, which has to be present still."""
        return None if self.about_erased(record) else getattr(record.entry.public(), "other", None)

    def other_identifier(self, record: Record) -> Node | None:
        """Of a decision: its other end, which says what was told apart where one customer had both."""
        return None if self.about_erased(record) else self.others.get(getattr(record.entry.public(), "other_value_hash", b""))

    def by_hand(self, decision_id: bytes, kind: type[Public]) -> Public | None:
        """What these streams say of a decision: it stays when an erasure takes the decision itself."""
        said = (public for r in self.records if isinstance(public := r.entry.public(), kind))
        return next((public for public in said if getattr(public, "decision_id", None) == decision_id), None)

    def about_erased(self, record: Record) -> bool:
        return getattr(record.entry.public(), "other", None) in self.erased


class Explanations:
    def __init__(self, pool: Any, ledger: Ledger, graph: GraphWriter, comparing: Comparing, clock: Clock) -> None:
        self._pool = pool
        self._ledger = ledger
        self._graph = graph
        self._clock = clock
        self._weighing = Weighing(comparing)
        self._turn = asyncio.Semaphore(MOST_AT_ONCE)

    async def instants(self, as_of: int | None, known_at: int | None) -> Instants:
        """None is now. Raises InvalidInput (INSTANT_IN_FUTURE). What is known by `known_at` stays the same from here on."""
        if any(instant is not None and instant > self._clock() for instant in (as_of, known_at)):
            raise InvalidInput("what is to come is not known: ask about now or the past", reason="INSTANT_IN_FUTURE")
        settled = END_OF_TIME if known_at is None else await self._ledger.settle(known_at)
        return Instants(END_OF_TIME if as_of is None else as_of, settled)

    async def resolve(self, node: Node, instants: Instants) -> Resolved:
        """Raises NotFound, as of `nobody`: also of a customer that was erased since, which is told of at no instant."""
        async with self._snapshot() as connection:
            found = await self._resolved(connection, node, instants)
            if found is None:
                raise await self._nobody(connection, node, instants)
        return found

    async def why(self, one: Node | bytes, other: Node | bytes, instants: Instants, tried: Rules | None = None) -> Why:
        """Of identifiers, or of customers by their ids; both have to be known as of these instants. `tried`: by these rules instead.

        Raises NotFound (CUSTOMER_UNKNOWN, and as `nobody`), WrongState (CUSTOMER_ERASED), TooLarge (TOO_MANY_SIGHTINGS),
        InvalidInput (RULES_NOT_TRIED).
        """
        if tried is not None and tried.max_sightings < self._graph.rules.max_sightings:  # what would be crowded isn't marked
            raise InvalidInput("fewer max_sightings than in force are tried for all by CheckRules only", reason="RULES_NOT_TRIED")
        async with self._snapshot() as connection:
            first, second = [await self._named(connection, end, instants) for end in (one, other)]
            hashes = {first.node.value_hash, second.node.value_hash}
            rules = tried or await self._rules(connection, instants)
            recalled = await recall.recall(connection, hashes, rules, instants, self._is_former(rules))
            explained = await asyncio.to_thread(explain, recalled.standing(rules), first.node, second.node)
            why = Why(first, second, explained, rules, recalled.told)
            why.grounded = await ground(connection, explained, recalled, rules, instants)
            why.grounds = await self._grounds(connection, why, recalled)
            if not explained.together and first.customer and second.customer:
                if not tried and instants.as_of == END_OF_TIME:  # it asks about what was known: when it happened says nothing of it
                    ends = first.customer, second.customer, instants.known_at
                    why.proposals, why.resting = await replayed.proposals_between(connection, *ends)
                if instants == recall.NOW:  # where people lived then isn't kept
                    why.household = await record_rows.live_together(connection, first.customer, second.customer)
                why.vetoes = recalled.vetoes(recalled.standing(rules).partition(first.node, second.node), first.node, second.node)
        return why

    async def history(self, customer: bytes, known_at: int = END_OF_TIME) -> History:
        """Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
        async with self._snapshot() as connection:
            await views.present_members(connection, customer)
            cluster = await replayed.cluster_at(LogReader(connection), customer, known_at)
            erased = await erasures.erased_among(connection, cluster)
            records = [record for member, stream in cluster.items() if member not in erased for record in stream]
            if not records:
                raise replayed.nobody_yet(customer)
            ends = {h for r in records if (h := getattr(r.entry.public(), "other_value_hash", None))}
            hidden = await erasures.suppressions(connection, ends | {h for r in records if (h := _hash_of(r)) is not None})
            gone = await erasures.erased_among(connection, {o for r in records if (o := getattr(r.entry.public(), "other", None))})
            causes = {cause for r in records if (cause := getattr(r.entry.public(), "cause", None))}
            decided = await decisions.of_ids(connection, causes)
            spent = await decisions.spent_among(connection, causes - decided.keys())
            activations = await rulebook.history(LogReader(connection))
            others = await decisions.nodes(connection, ends - hidden.keys())
        kept = [r for r in records if (h := _hash_of(r)) is None or h not in hidden or r.recorded_at > hidden[h].erased_at]
        namespaces = {r.entry.public().value_hash: r.entry.public().namespace for r in kept if r.entry.type_id == events.LINKED.id}
        members = [member for member in cluster if member not in erased]
        told = list(_once(sorted(kept, key=lambda record: record.pos)))
        return History(members, told, namespaces, others, gone, decided, spent, activations)

    async def compare(self, one: Node | bytes, other: Node | bytes, instants: Instants) -> tuple[list[Weighed], int]:
        """Each record of one customer with each of the other, strongest first; and of how many pairs nobody knows what they were
        at that instant. Where the two are one, what each said before they were merged is compared.

        Raises InvalidInput (SAME_CUSTOMER), NotFound (CUSTOMER_UNKNOWN, and as `nobody`), WrongState (CUSTOMER_ERASED,
        RECORDS_OF_THEN_UNKNOWN).
        """
        async with self._snapshot() as connection:
            ends = [await self._linked_at(connection, end, instants) for end in (one, other)]
            if ends[0] == ends[1]:
                raise InvalidInput("these two name one customer, also without any merge", reason="SAME_CUSTOMER")
            sides = [await replayed.members_at(connection, end, instants.known_at) for end in ends]
            if ends[1] in sides[0]:
                sides = [[end] for end in ends]
            matching = (await self._rules(connection, instants)).matching
            if instants == recall.NOW:
                told, unknown = await self._weighing.now(connection, sides, matching), 0
            else:
                activation = await modelbook.in_force(LogReader(connection), instants.known_at)
                comparer = Comparer(activation.model, matching.review_weight, matching.exclusive)
                told, unknown = await self._weighing.then(connection, sides, matching, comparer, instants)
        if unknown and not told:
            raise WrongState(
                "what was said of these two at that instant isn't kept: they didn't match then, and it was said otherwise since",
                reason="RECORDS_OF_THEN_UNKNOWN",
            )
        return sorted(told, key=lambda w: (-w.explanation.weight, w.one.value_hash, w.other.value_hash)), unknown

    async def _grounds(self, connection: Any, why: Why, recalled: Recalled) -> dict[Link, Grounds]:
        links = [*why.explained.links, *(one.link for one in why.explained.obstacles if one.link is not None)]
        if not any(link.weight is not None for link in links):
            return {}
        partition = await asyncio.to_thread(recalled.standing(why.rules).partition, why.one.node, why.other.node)
        group = {node for end in (why.one, why.other) for node in partition.group_of[end.node].nodes}
        return await self._weighing.grounds(connection, links, recalled, group, why.rules.matching)

    async def _named(self, connection: Any, wanted: Node | bytes, instants: Instants) -> Named:
        """As `resolve` tells it. What is shared, contested or blocked is nobody's, and explained all the same."""
        if isinstance(wanted, Node):
            resolved = await self._resolved(connection, wanted, instants)
            if resolved is None and not await self._is_known(connection, wanted, instants):
                raise await self._nobody(connection, wanted, instants)
            return Named(wanted, resolved.canonical if resolved else None)
        members = await replayed.members_at(connection, wanted, instants.known_at)
        row = await connection.fetchrow("SELECT namespace, value_hash FROM identifiers WHERE customer = $1 AND own", wanted)
        node = Node(row["namespace"], row["value_hash"])
        if instants.as_of == END_OF_TIME:
            return Named(node, members[0])
        resolved = await self._as_of(connection, node, instants)
        if resolved is None:
            raise replayed.nobody_yet(wanted)
        return Named(node, resolved.canonical)

    async def _is_known(self, connection: Any, node: Node, instants: Instants) -> bool:
        """Of an identifier that names nobody."""
        if not await connection.fetchval("SELECT 1 FROM identifiers WHERE value_hash = $1", node.value_hash):
            return False
        return instants == recall.NOW or (await self._nobody(connection, node, instants)).reason != "IDENTIFIER_UNKNOWN"

    async def _resolved(self, connection: Any, node: Node, instants: Instants) -> Resolved | None:
        if instants == recall.NOW:
            return await views.resolve(connection, node.value_hash)
        if instants.as_of == END_OF_TIME:
            return await replayed.resolved_at(connection, node, instants.known_at)
        return await self._as_of(connection, node, instants)

    async def _as_of(self, connection: Any, node: Node, instants: Instants) -> Resolved | None:
        rules = await self._rules(connection, instants)
        recalled = await recall.recall(connection, [node.value_hash], rules, instants, self._is_former(rules))
        standing = recalled.standing(rules)
        group = standing.partition(node).group_of[node].nodes
        founders = await replayed.founders(connection, group, instants.known_at)
        if not founders or not await self._is_somebody(connection, node, instants, recalled, standing, len(group) == 1):
            return None
        own = next((founder.customer for founder in founders if founder.node == node), founders[0].customer)
        ownership = views.ownership(node in recalled.shared, node in standing.shared)
        return Resolved(own, founders[0].customer, ownership)

    async def _is_somebody(
        self, connection: Any, node: Node, instants: Instants, recalled: Recalled, standing: Standing, single: bool
    ) -> bool:
        """Whether an event that names it had happened; of what is shared and `single`, one that resolved by it: else it is nobody."""
        if await alone.seen_by(connection, node.value_hash, *instants):
            return True
        if single and node in standing.shared:
            return await recall.resolved_by(connection, node, standing.rules, instants)
        return node in recalled.shared or any(node in together for together in recalled.facts.together)

    async def _rules(self, connection: Any, instants: Instants) -> Rules:
        """What was known is resolved by the rules of that day; what had happened, by today's."""
        if instants.known_at == END_OF_TIME:
            return self._graph.rules
        return (await rulebook.known_at(LogReader(connection), instants.known_at)).rules

    async def _linked_at(self, connection: Any, wanted: Node | bytes, instants: Instants) -> bytes:
        """Raises NotFound, as of `nobody`."""
        found = await replayed.linked_at(connection, wanted, instants.known_at)
        if found is None:
            assert isinstance(wanted, Node)
            raise await self._nobody(connection, wanted, instants)
        return found

    async def _nobody(self, connection: Any, node: Node, instants: Instants) -> NotFound:
        rules = await self._rules(connection, instants)
        return await nobody(connection, node, rules, instants, self._is_former(rules))

    def _is_former(self, rules: Rules) -> bool:
        return rules.version != self._graph.rules.version

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Any]:
        """All that is read is of one moment."""
        async with self._turn, snapshot(self._pool) as connection:
            yield connection


def _hash_of(record: Record) -> bytes | None:
    return getattr(record.entry.public(), "value_hash", None)


def _once(records: Iterable[Record]) -> Iterable[Record]:
    """What is written to the streams of both customers, the first time only."""
    seen = set()
    for record in records:
        public = record.entry.public()
        shared_id = next(
            (found for name in ("merge_id", "proposal_id", "decision_id") if (found := getattr(public, name, None))), None
        )
        key = (record.entry.type_id, shared_id, getattr(public, "cause", b""), getattr(public, "match_weight", None))
        if shared_id is None or key not in seen:
            seen.add(key)
            yield record
