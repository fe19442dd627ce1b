"""People told apart by what was said of them alone, in memory, by the pure parts that the service runs: which records meet,
what each pair weighs, and what follows in the graph. Each record stands for an identifier of its own that nothing was seen with."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from services.identity.graph.facts import Evidence, Facts, Node
from services.identity.graph.ownership import divide
from services.identity.graph.rules import DEFAULT_RULES, Rules
from services.identity.matching import blocking
from services.identity.matching.record import Record
from services.identity.records.likeness import Comparer, Kept, Likeness, RecordPair, best, record_pair
from services.identity.records.proposing import Blocks, Key, Proposed, propose, withdrawn

NAMESPACE = "anonymous_id"  # which a person may have any number of


def kept(record: Record) -> Kept:
    name = record.id.encode()
    return Kept(name, name, record.source, record.person, Evidence(1, name))


def block_keys(record: Record) -> frozenset[Key]:
    return frozenset(key.encode() for key in blocking.keys(record.person))


def node_of(record_id: bytes) -> Node:
    return Node(NAMESPACE, record_id)


def facts_of(likenesses: Iterable[Likeness], sources: Mapping[bytes, str]) -> Facts:
    """`sources`: of the records that the likenesses are of, and of whom else the facts are to be."""
    facts = Facts()
    facts.matched = best(likenesses, {record_id: node_of(record_id) for record_id in sources})
    facts.recorded_by = {node_of(record_id): frozenset({source}) for record_id, source in sources.items()}
    return facts


def all_at_once(
    records: Mapping[str, Record], comparer: Comparer, rules: Rules = DEFAULT_RULES, cap: int = blocking.MAX_BLOCK_RECORDS
) -> set[frozenset[str]]:
    """The records of each person. `comparer` keeps nothing below its floor."""
    return people_of(records, likenesses_of(records, comparer, cap), rules)


def likenesses_of(records: Mapping[str, Record], comparer: Comparer, cap: int = blocking.MAX_BLOCK_RECORDS) -> list[Likeness]:
    known = {record_id: kept(record) for record_id, record in records.items()}
    pairs = blocking.pairs({record.id: blocking.keys(record.person) for record in records.values()}, cap)
    return [like for one, other in sorted(pairs) if (like := comparer.compare(known[one], known[other])) is not None]


def people_of(records: Mapping[str, Record], likenesses: Iterable[Likeness], rules: Rules) -> set[frozenset[str]]:
    partition = divide(facts_of(likenesses, {record.id.encode(): record.source for record in records.values()}), rules)
    groups = {frozenset(node.value_hash.decode() for node in group) for group in partition.groups()}
    alone = records.keys() - {record_id for group in groups for record_id in group}
    return groups | {frozenset({record_id}) for record_id in alone}


@dataclass(slots=True)
class People:
    """The same, kept up to date record by record."""

    comparer: Comparer
    rules: Rules = DEFAULT_RULES
    cap: int = blocking.MAX_BLOCK_RECORDS
    known: dict[bytes, Kept] = field(default_factory=dict)
    keys_of: dict[bytes, frozenset[Key]] = field(default_factory=dict)
    members: dict[Key, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    likenesses: dict[bytes, dict[bytes, Likeness]] = field(default_factory=lambda: defaultdict(dict))
    group_of: dict[bytes, frozenset[bytes]] = field(default_factory=dict)

    def add(self, record: Record) -> frozenset[bytes]:
        """The records of its person. One that is known by its id is replaced."""
        new, keys = kept(record), block_keys(record)
        known = self.keys_of.get(new.record_id, frozenset())
        found = self._propose({new.record_id: keys})
        touched = self._forget_pairs(new.record_id)
        self.known[new.record_id], self.keys_of[new.record_id] = new, keys
        for key in known - keys:
            self.members[key].discard(new.record_id)
        for key in keys:
            self.members[key].add(new.record_id)
        touched |= self._compare(found.pairs) | self._retire(found) | {new.record_id}
        self._settle(touched)
        return self.group_of[new.record_id]

    def remove(self, record_id: bytes) -> None:
        """As if it had never been there."""
        touched = self._forget_pairs(record_id)
        gone = self.keys_of.pop(record_id)
        del self.known[record_id], self.group_of[record_id]
        back = [key for key in gone if len(self.members[key]) == self.cap + 1]
        for key in gone:
            self.members[key].discard(record_id)
        self._settle(touched | self._compare(self._propose({}, back).pairs))

    def groups(self) -> set[frozenset[str]]:
        return {frozenset(one.decode() for one in group) for group in self.group_of.values()}

    def _propose(self, changed: Mapping[bytes, frozenset[Key]], returned: Collection[Key] = ()) -> Proposed:
        before = {record_id: self.keys_of[record_id] for record_id in changed if record_id in self.keys_of}
        touched = {key for keys in (*changed.values(), *before.values()) for key in keys}.union(returned)
        members = {key: set(islice(self.members[key], self.cap + len(changed) + 1)) for key in touched}
        return propose(Blocks(members, before, self.cap), changed, returned)

    def _compare(self, pairs: Collection[RecordPair]) -> set[bytes]:
        touched = set()
        for one, other in pairs:
            like = self.comparer.compare(self.known[one], self.known[other])
            if like is not None:
                self.likenesses[one][other] = self.likenesses[other][one] = like
                touched |= {one, other}
        return touched

    def _retire(self, found: Proposed) -> set[bytes]:
        """Pairs that a block that is retired now proposed, and no other does."""
        touched = set()
        for members in found.retired.values():
            inside = {record_pair(one, other) for one in members for other in self.likenesses[one].keys() & members}
            sizes = {key: len(self.members[key]) for one in members for key in self.keys_of[one]}
            for one, other in withdrawn(inside, self.keys_of, sizes, self.cap):
                del self.likenesses[one][other], self.likenesses[other][one]
                touched |= {one, other}
        return touched

    def _forget_pairs(self, record_id: bytes) -> set[bytes]:
        """Those it was alike."""
        others = set(self.likenesses.pop(record_id, {}))
        for other in others:
            del self.likenesses[other][record_id]
        return others

    def _settle(self, touched: Iterable[bytes]) -> None:
        """Whole components: whom those are alike that are touched."""
        reached = {record_id for record_id in touched if record_id in self.known}
        reached |= {member for record_id in reached for member in self.group_of.get(record_id, ()) if member in self.known}
        waiting = list(reached)
        while waiting:
            for other in self.likenesses[waiting.pop()].keys() - reached:
                reached.add(other)
                waiting.append(other)
        inside = [like for one in reached for other, like in self.likenesses[one].items() if one < other]
        partition = divide(facts_of(inside, {one: self.known[one].source for one in reached}), self.rules)
        for record_id in reached:
            part = partition.group_of.get(node_of(record_id))
            self.group_of[record_id] = frozenset(node.value_hash for node in part.nodes) if part else frozenset({record_id})
