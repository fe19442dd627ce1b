"""The partition of records kept up to date, one record at a time: the same as `resolve` of all at once. No I/O, no clock.

A change touches the pairs of one record's blocks, and the components of links that these pairs are in.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from services.identity.matching.blocking import Blocks, Pair, keys
from services.identity.matching.judge import Judge, Judged
from services.identity.matching.record import Record
from services.identity.matching.resolve import Decisions, Limits, Partition, cluster, pair, questions


@dataclass(slots=True)
class Matcher:
    judge: Judge
    limits: Limits = field(default_factory=Limits)
    records: dict[str, Record] = field(default_factory=dict)
    decisions: Decisions = field(default_factory=Decisions)
    judged: dict[Pair, Judged] = field(default_factory=dict)
    group_of: dict[str, frozenset[str]] = field(default_factory=dict)
    _blocks: Blocks = field(init=False)
    _judged_with: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _forced_with: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self._blocks = Blocks(self.limits.max_block)

    def add(self, record: Record) -> frozenset[str]:
        """The records of its person, itself included. A record known by its id is replaced."""
        if record.id in self.records:
            self.remove(record.id)
        met, retired = self._blocks.add(record.id, keys(record.person))
        self.records[record.id] = record
        touched = {record.id}
        for other in met:
            self._judge(pair(record.id, other))
        for members in retired:
            touched |= self._retire(members)
        self._settle(touched)
        return self.group_of[record.id]

    def remove(self, record_id: str) -> None:
        """As if it had never been there."""
        touched = set(self.group_of[record_id]) | self._linked_with(record_id)
        for other in list(self._judged_with[record_id]):
            self._forget(pair(record_id, other))
        del self.records[record_id], self.group_of[record_id], self._judged_with[record_id]
        for members in self._blocks.remove(record_id):
            for ids in combinations(sorted(members), 2):
                if ids not in self.judged and self._judge(ids):
                    touched.update(ids)
        self._settle(touched)

    def decide(self, decisions: Decisions) -> None:
        """Takes all the decisions that hold from now on."""
        changed = (self.decisions.forced ^ decisions.forced) | (self.decisions.forbidden ^ decisions.forbidden)
        touched = self._component(record_id for ids in changed for record_id in ids)
        self.decisions = Decisions(set(decisions.forced), set(decisions.forbidden))
        self._forced_with.clear()
        for one, other in decisions.forced:
            self._forced_with[one].add(other)
            self._forced_with[other].add(one)
        self._settle(touched)

    def partition(self) -> Partition:
        """Of everything, with all links, questions, and what was held apart."""
        found = cluster(self.records, self.judged, self.limits, self.decisions)
        found.questions = questions(self.judged)
        return found

    def around(self, record_id: str) -> Partition:
        """All that decided about one record: its links, and what was held apart and why."""
        ids = self._component([record_id])
        judged = self._judged_among(ids)
        found = cluster({member: self.records[member] for member in ids}, judged, self.limits, self.decisions)
        found.questions = [link for link in questions(judged) if record_id in (link.one, link.other)]
        return found

    def _judge(self, ids: Pair) -> bool:
        found = self.judge(self.records[ids[0]], self.records[ids[1]])
        if found is not None:
            self.judged[ids] = found
            self._judged_with[ids[0]].add(ids[1])
            self._judged_with[ids[1]].add(ids[0])
        return found is not None

    def _forget(self, ids: Pair) -> None:
        del self.judged[ids]
        self._judged_with[ids[0]].discard(ids[1])
        self._judged_with[ids[1]].discard(ids[0])

    def _retire(self, members: set[str]) -> set[str]:
        """Forgets the pairs that only this block proposed."""
        touched: set[str] = set()
        for one in members:
            for other in [other for other in self._judged_with[one] & members if one < other]:
                if not self._blocks.propose(one, other):
                    self._forget((one, other))
                    touched.update((one, other))
        return touched

    def _settle(self, touched: Iterable[str]) -> None:
        ids = self._component(touched)
        records = {record_id: self.records[record_id] for record_id in ids}
        self.group_of.update(cluster(records, self._judged_among(ids), self.limits, self.decisions).group_of)

    def _judged_among(self, ids: set[str]) -> dict[Pair, Judged]:
        pairs = ((one, other) for one in ids for other in self._judged_with[one] if one < other and other in ids)
        return {found: self.judged[found] for found in pairs}

    def _linked_with(self, record_id: str) -> set[str]:
        """By candidates, joined or not."""
        found = {other for other in self._judged_with[record_id] if self.judged[pair(record_id, other)].band == "link"}
        return found | {other for other in self._forced_with[record_id] if other in self.records}

    def _component(self, start: Iterable[str]) -> set[str]:
        reached = {record_id for record_id in start if record_id in self.records}
        waiting = list(reached)
        while waiting:
            for record_id in self._linked_with(waiting.pop()) - reached:
                reached.add(record_id)
                waiting.append(record_id)
        return reached
