"""From facts and rules to the partition: which identifiers name one customer. Pure, and independent of any order.

Candidate links are taken strongest first and joined unless a rule, a decision or a bound forbids it. What isn't joined is
kept with its reason. Links never lead out of a component of candidates, so a component is resolved by itself.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from services.identity.graph.facts import Evidence, Facts, Node, Pair, pair, shared
from services.identity.graph.rules import Namespace, Rules

Reason = Literal["LIMIT", "FORBIDDEN", "CLUSTER_TOO_LARGE"]


class Link(NamedTuple):
    """Two identifiers that may name one customer, stronger first. No evidence: people decided it."""

    strong: Node
    weak: Node
    evidence: Evidence | None


class Rejected(NamedTuple):
    link: Link
    reason: Reason
    namespace: str = ""  # whose limit


@dataclass(slots=True)
class Group:
    """Identifiers that name one customer so far."""

    nodes: set[Node]
    values: dict[str, list[int]]  # namespace: when each of its values was first seen


@dataclass(slots=True)
class Partition:
    """`group_of` has every identifier; a shared one is alone unless people linked it."""

    group_of: dict[Node, Group] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    shared: set[Node] = field(default_factory=set)

    def add(self, node: Node, first_seen: int = 0) -> None:
        self.group_of[node] = Group({node}, {node.namespace: [first_seen]})

    def groups(self) -> set[frozenset[Node]]:
        return {frozenset(group.nodes) for group in self.group_of.values()}


def resolve(facts: Facts, rules: Rules, shared_values: set[Node] | None = None) -> Partition:
    """`shared_values` has to be given when `facts` are those of a component: owners may stand outside."""
    partition = Partition(shared=shared(facts, rules) if shared_values is None else shared_values)
    first_seen = _first_seen(facts)
    for node in facts.nodes():
        partition.add(node, first_seen.get(node, 0))
    for link in candidates(facts, rules, partition.shared):
        one, other = partition.group_of[link.strong], partition.group_of[link.weak]
        if one is other:
            partition.links.append(link)
        elif (rejected := _reject(link, one, other, facts, rules)) is not None:
            partition.rejected.append(rejected)
        else:
            partition.links.append(link)
            _join(partition, one, other)
    return partition


def candidates(facts: Facts, rules: Rules, without: set[Node]) -> list[Link]:
    """In the order in which they are joined: by hand first, then strongest namespaces, then the earliest."""

    def rank(node: Node) -> tuple[tuple[int, int], Node]:
        return rules.rank(node.namespace), node

    earliest: dict[Pair, Link] = {}
    for nodes, evidence in facts.together.items():
        active = sorted((node for node in nodes if node not in without), key=rank)
        for weak in active[1:]:
            link = Link(active[0], weak, evidence)
            known = earliest.get(found := pair(active[0], weak))
            if known is None or (known.evidence is not None and evidence < known.evidence):
                earliest[found] = link
    for decided in facts.forced:
        strong, weak = sorted(decided, key=rank)
        earliest[decided] = Link(strong, weak, None)
    return sorted(
        earliest.values(), key=lambda link: (link.evidence is not None, rank(link.strong)[0], rank(link.weak)[0], *link[::-1])
    )


def component_of(start: Iterable[Node], facts: Facts, rules: Rules) -> set[Node]:
    """All that candidates or decisions lead to."""
    neighbours: dict[Node, set[Node]] = defaultdict(set)
    for link in candidates(facts, rules, shared(facts, rules)):
        neighbours[link.strong].add(link.weak)
        neighbours[link.weak].add(link.strong)
    reached, waiting = set(start), list(start)
    while waiting:
        for node in neighbours[waiting.pop()] - reached:
            reached.add(node)
            waiting.append(node)
    return reached


def _first_seen(facts: Facts) -> dict[Node, int]:
    first: dict[Node, int] = {}
    for nodes, evidence in facts.together.items():
        for node in nodes:
            first[node] = min(evidence.occurred_at, first.get(node, evidence.occurred_at))
    return first


def _reject(link: Link, one: Group, other: Group, facts: Facts, rules: Rules) -> Rejected | None:
    if any(_across(decided, one, other) for decided in facts.forbidden):
        return Rejected(link, "FORBIDDEN")
    if link.evidence is None:
        return None
    for name in one.values.keys() & other.values.keys():
        if _breaks_limit(rules.of(name), one.values[name] + other.values[name]):
            return Rejected(link, "LIMIT", name)
    if len(one.nodes) + len(other.nodes) > rules.max_cluster:
        return Rejected(link, "CLUSTER_TOO_LARGE")
    return None


def _across(decided: Pair, one: Group, other: Group) -> bool:
    return not (decided.isdisjoint(one.nodes) or decided.isdisjoint(other.nodes))


def _breaks_limit(namespace: Namespace, first_seen: list[int]) -> bool:
    limit = namespace.limit
    if limit is None or len(first_seen) <= limit:
        return False
    if namespace.window_us is None:
        return True
    times = sorted(first_seen)
    return any(late - early <= namespace.window_us for early, late in zip(times, times[limit:], strict=False))


def _join(partition: Partition, one: Group, other: Group) -> None:
    if len(one.nodes) < len(other.nodes):
        one, other = other, one
    one.nodes |= other.nodes
    for name, times in other.values.items():
        one.values.setdefault(name, []).extend(times)
    for node in other.nodes:
        partition.group_of[node] = one
