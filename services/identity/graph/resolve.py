"""From facts and rules to the partition: which identifiers name one customer. Pure, and independent of any order.

Candidate links are taken strongest first, matches after all that was seen, and joined unless a rule, a decision or a bound
forbids it. What isn't joined is kept with its reason. Links never lead out of a component of candidates, so a component is resolved by itself.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from math import fsum, log2
from typing import Literal, NamedTuple

from services.identity.graph.crowding import shared, taking_part
from services.identity.graph.facts import Evidence, Facts, Match, Node, Pair, pair
from services.identity.graph.rules import Rules, breaks_limit

TIMES_A_RIVAL = 20.0  # as likely as all others together has one to be whom a source that has each person once can have once only

Reason = Literal["LIMIT", "FORBIDDEN", "CLUSTER_TOO_LARGE", "ONE_PER_SOURCE", "LOW_CERTAINTY"]
Doubt = Literal["WEIGHT", "WITNESS", "OTHER_RECORDS", "RIVAL"]  # why a match isn't certain


class Link(NamedTuple):
    """Two identifiers that may name one customer, stronger first. No evidence: people decided it; a weight: it is a match."""

    strong: Node
    weak: Node
    evidence: Evidence | None
    weight: float | None = None
    unrivalled: bool = False  # a match that is one only where neither end could be anybody else


class Rejected(NamedTuple):
    link: Link
    reason: Reason
    namespace: str = ""  # whose limit, or which source's
    doubts: tuple[Doubt, ...] = ()  # of low certainty


@dataclass(slots=True)
class Group:
    """Identifiers that name one customer so far."""

    nodes: set[Node]
    values: dict[str, list[int]]  # namespace: when each of its values was first seen
    sources: set[str] = field(default_factory=set)  # that have a record of it, and keep each person once
    recorded: int = 0  # identifiers that sources have a record of


@dataclass(slots=True)
class Partition:
    """`group_of` has every identifier; a shared one is alone unless people linked it. So is a contested one, which is `shared` too.

    `part_of` is what evidence joins without the decisions that force a link; a group that no decision joined is one part.
    """

    group_of: dict[Node, Group] = field(default_factory=dict)
    part_of: dict[Node, Group] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    shared: set[Node] = field(default_factory=set)
    contested: set[Node] = field(default_factory=set)
    alike: dict[Node, dict[Node, Match]] = field(default_factory=dict, repr=False, compare=False)  # who matches whom

    def add(self, node: Node, first_seen: int = 0, sources: Iterable[str] = (), recorded: int = 0) -> None:
        self.group_of[node] = Group({node}, {node.namespace: [first_seen]}, set(sources), recorded)
        self.part_of[node] = Group({node}, {node.namespace: [first_seen]}, set(sources), recorded)

    def groups(self) -> set[frozenset[Node]]:
        return {frozenset(group.nodes) for group in self.group_of.values()}


def resolve(facts: Facts, rules: Rules, shared_values: set[Node] | None = None, last: Collection[Node] = ()) -> Partition:
    """`shared_values` has to be given when `facts` are those of a component: owners may stand outside. As to `last`, `candidates`."""
    partition = Partition(shared=shared(facts, rules) if shared_values is None else shared_values)
    first_seen = _first_seen(facts)
    for node in facts.nodes():
        known = facts.recorded_by.get(node, frozenset())
        sources = known.intersection(rules.matching.one_per_source)
        partition.add(node, first_seen.get(node, 0), sources, 1 if known else 0)
    for found, match in facts.matched.items():
        for end, another in permutations(found) if found.isdisjoint(partition.shared) else ():
            partition.alike.setdefault(end, {})[another] = match
    for link in candidates(facts, rules, partition.shared, last):
        one, other = partition.group_of[link.strong], partition.group_of[link.weak]
        if one is not other and (rejected := _reject(link, partition, facts, rules)) is not None:
            partition.rejected.append(rejected)
            continue
        partition.links.append(link)
        if one is not other:
            _join(partition.group_of, one, other)
        if link.evidence is not None:
            _join_parts(partition, link, facts, rules)
    partition.rejected = list(_in_the_end(partition, facts))
    partition.rejected += _uncertain(partition, facts, rules)
    return partition


def candidates(facts: Facts, rules: Rules, without: set[Node], last: Collection[Node] = ()) -> list[Link]:
    """In the order in which they are joined: by hand first, then strongest namespaces, then the earliest; then by weight.

    Values of `last` come after all others that were seen, each by itself: whatever they bring takes no one's place. But before
    matches, which add to what is certain.
    """

    def rank(node: Node) -> tuple[tuple[int, int], Node]:
        return rules.rank(node.namespace), node

    earliest: dict[Pair, Link] = {}
    for nodes, evidence in taking_part(facts, rules).together.items():
        active = sorted((node for node in nodes if node not in without), key=lambda node: (node in last, rank(node)))
        for other in active[1:]:
            strong, weak = sorted((active[0], other), key=rank)
            link = Link(strong, weak, evidence)
            known = earliest.get(found := pair(strong, weak))
            if known is None or (known.evidence is not None and evidence < known.evidence):
                earliest[found] = link
    for decided in facts.forced:
        strong, weak = sorted(decided, key=rank)
        earliest[decided] = Link(strong, weak, None)
    for found, match in facts.matched.items():
        if found not in earliest and found.isdisjoint(without) and (would := linking(found, match, facts, rules)) is not None:
            weight, unrivalled = would
            strong, weak = sorted(found, key=rank)
            earliest[found] = Link(strong, weak, match.evidence, weight, unrivalled)

    def order(link: Link) -> tuple[object, ...]:
        ranks = rank(link.strong)[0], rank(link.weak)[0]
        if link.weight is not None:
            return 4 if link.unrivalled else 3, -link.weight, *ranks, link.weak, link.strong
        kind = 0 if link.evidence is None else 2 if link.strong in last or link.weak in last else 1
        return kind, *ranks, link.evidence, link.weak, link.strong

    return sorted(earliest.values(), key=order)


def _first_seen(facts: Facts) -> dict[Node, int]:
    first: dict[Node, int] = {}
    for nodes, evidence in facts.together.items():
        for node in nodes:
            first[node] = min(evidence.occurred_at, first.get(node, evidence.occurred_at))
    return first


def _reject(link: Link, partition: Partition, facts: Facts, rules: Rules) -> Rejected | None:
    """Nothing falls out of a customer when people join it to another, and two people never become one unasked.

    So a limit weighs what evidence joins, without what people joined to it, unless it is of the strongest identifiers there:
    who is known by those and comes to what people joined is weighed with all of it.
    """
    one, other = partition.group_of[link.strong], partition.group_of[link.weak]
    if kept_apart(facts, one, other):
        return Rejected(link, "FORBIDDEN")
    if link.evidence is None:
        return None
    part, another = partition.part_of[link.strong], partition.part_of[link.weak]
    for name in sorted(one.values.keys() & other.values.keys()):
        known = _anchored(name, part, one, rules) and _anchored(name, another, other, rules)
        by_part = known or rules.of(name).limit != 1
        mine, theirs = (part, another) if by_part else (one, other)
        if breaks_limit(rules.of(name), mine.values.get(name, []), theirs.values.get(name, [])):
            return Rejected(link, "LIMIT", name)
    if len(part.nodes) + len(another.nodes) > rules.max_cluster:
        return Rejected(link, "CLUSTER_TOO_LARGE")
    return None if link.weight is None else _reject_match(link, partition, facts, rules)


def _in_the_end(partition: Partition, facts: Facts) -> Iterator[Rejected]:
    """What people joined is weighed in parts: a link that would break one part's limit may be moot by another part's link.

    And what people keep apart is kept apart by them, whatever else did when less of the two had been joined.
    """
    for rejected in partition.rejected:
        one, other = partition.group_of[rejected.link.strong], partition.group_of[rejected.link.weak]
        if one is not other:
            yield Rejected(rejected.link, "FORBIDDEN") if kept_apart(facts, one, other) else rejected


def _reject_match(link: Link, partition: Partition, facts: Facts, rules: Rules) -> Rejected | None:
    part, another = partition.part_of[link.strong], partition.part_of[link.weak]
    if both := part.sources & another.sources:
        return Rejected(link, "ONE_PER_SOURCE", min(both))
    odds = _odds(partition, part, another, link.unrivalled)
    rivals = [
        _odds(partition, one, rival, link.unrivalled)
        for one, other in permutations((part, another))
        for rival in _rivals(partition, one, other, facts)
    ]
    if odds <= 0.0 or log2(odds) < rules.matching.link_weight:
        return Rejected(link, "LOW_CERTAINTY", "", ("OTHER_RECORDS",))
    return Rejected(link, "LOW_CERTAINTY", "", ("RIVAL",)) if odds < TIMES_A_RIVAL * fsum(rivals) else None


def _odds(partition: Partition, part: Group, another: Group, unrivalled: bool) -> float:
    """Of all pairs of two groups, on average. Of many pairs one may weigh much by chance while the others say nothing."""
    small, large = sorted((part, another), key=lambda group: len(group.nodes))
    alike = [partition.alike[node] for node in small.nodes if node in partition.alike]
    matches = [match for found in alike for other, match in found.items() if other in large.nodes]
    odds = [2.0 ** (match.unrivalled if unrivalled else match.weight) for match in matches]
    return fsum(odds) / max(1, part.recorded * another.recorded)


def _rivals(partition: Partition, part: Group, another: Group, facts: Facts) -> list[Group]:
    """All whom a part may be instead of the other: in a source that has the other too, and each person once."""
    if not another.sources:
        return []
    near = {other for node in part.nodes for other in partition.alike.get(node, ())}
    groups = {id(group): group for other in near if (group := partition.part_of[other]) is not part and group is not another}
    may_be = [group for group in groups.values() if group.sources & another.sources and not group.sources & part.sources]
    return [group for group in may_be if not kept_apart(facts, part, group)]


def linking(found: Pair, match: Match, facts: Facts, rules: Rules) -> tuple[float, bool] | None:
    """Bits from which on a match links, and whether only if it is unrivalled; None: it doesn't."""
    if rules.matching.band(match.weight, match.witnessed_weight) == "link":
        return rules.matching.linking(match.weight, match.witnessed_weight), False
    if _exclusive(found, facts, rules) and rules.matching.band(match.unrivalled, match.unrivalled) == "link":
        return match.unrivalled, True
    return None


def _exclusive(found: Pair, facts: Facts, rules: Rules) -> bool:
    """Whether all that recorded two have each person once."""
    exclusive = rules.matching.exclusive
    return bool(exclusive) and all(node in facts.recorded_by and facts.recorded_by[node] <= exclusive for node in found)


def _anchored(name: str, part: Group, group: Group, rules: Rules) -> bool:
    """Whether a part of what people joined has an identifier that is stronger than this namespace."""
    return len(part.nodes) == len(group.nodes) or min(map(rules.rank, part.values)) < rules.rank(name)


def _join_parts(partition: Partition, link: Link, facts: Facts, rules: Rules) -> None:
    """Also inside of a group, unless it would break a limit or bound by itself."""
    part, another = partition.part_of[link.strong], partition.part_of[link.weak]
    if part is another or len(part.nodes) + len(another.nodes) > rules.max_cluster:
        return
    if link.weight is not None and _reject_match(link, partition, facts, rules) is not None:
        return
    both = part.values.keys() & another.values.keys()
    if not any(breaks_limit(rules.of(name), part.values[name], another.values[name]) for name in both):
        _join(partition.part_of, part, another)


def _uncertain(partition: Partition, facts: Facts, rules: Rules) -> list[Rejected]:
    """Matches that are a question for people, once all that is certain has been joined, and those that people or a source answered."""
    asked = []
    for found, match in facts.matched.items():
        one, other = (partition.group_of[node] for node in found)
        if one is other or not found.isdisjoint(partition.shared) or (weight := asking(found, match, facts, rules)) is None:
            continue
        strong, weak = sorted(found, key=lambda node: (rules.rank(node.namespace), node))
        link, both = Link(strong, weak, match.evidence, weight), one.sources & other.sources
        if kept_apart(facts, one, other):  # and asked no more
            asked.append(Rejected(link, "FORBIDDEN"))
        elif both:
            asked.append(Rejected(link, "ONE_PER_SOURCE", min(both)))
        else:
            asked.append(Rejected(link, "LOW_CERTAINTY", "", _doubts(weight, match, rules)))
    return sorted(asked)


def _doubts(weight: float, match: Match, rules: Rules) -> tuple[Doubt, ...]:
    """Why it is asked, at this weight."""
    asked = rules.matching.link_weight
    too_little: tuple[Doubt, ...] = ("WEIGHT",) if weight < asked else ()
    return (*too_little, "WITNESS") if rules.matching.witness and match.witnessed_weight < min(weight, asked) else too_little


def asking(found: Pair, match: Match, facts: Facts, rules: Rules) -> float | None:
    """Bits of what isn't enough to link two and too much to pass over."""
    weight, witnessed = match.weight, match.witnessed_weight
    if _exclusive(found, facts, rules):
        weight = witnessed = max(match.weight, match.unrivalled)
    return weight if rules.matching.band(weight, witnessed) == "review" else None


def kept_apart(facts: Facts, one: Group, other: Group) -> bool:
    """By people."""
    return any(not (decided.isdisjoint(one.nodes) or decided.isdisjoint(other.nodes)) for decided in facts.forbidden)


def _join(group_of: dict[Node, Group], one: Group, other: Group) -> None:
    if len(one.nodes) < len(other.nodes):
        one, other = other, one
    one.nodes |= other.nodes
    one.sources |= other.sources
    one.recorded += other.recorded
    for name, times in other.values.items():
        one.values.setdefault(name, []).extend(times)
    for node in other.nodes:
        group_of[node] = one
