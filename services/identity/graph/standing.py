"""What a partition follows from, and what keeps two apart in it. Pure."""

from collections.abc import Collection
from dataclasses import replace
from math import inf
from typing import Literal, NamedTuple

import msgspec

from services.identity.graph.facts import Facts, Node, pair
from services.identity.graph.ownership import contests
from services.identity.graph.resolve import Doubt, Link, Partition, resolve
from services.identity.graph.rules import Namespace, Rules

Kind = Literal[
    "FORBIDDEN", "LIMIT", "CLUSTER_TOO_LARGE", "ONE_PER_SOURCE", "LOW_CERTAINTY", "SHARED", "CONTESTED", "BLOCKED", "CROWDED"
]


class Standing(NamedTuple):
    """All that a partition follows from; `shared` are values with too many owners, also owners that aren't among the facts, and
    `contested` ones; `last` those that were contested until people decided."""

    facts: Facts
    rules: Rules
    shared: frozenset[Node]
    last: frozenset[Node] = frozenset()
    contested: frozenset[Node] = frozenset()

    def partition(self, *alone: Node) -> Partition:
        """`alone` are there also when no fact is about them."""
        found = resolve(self.facts, self.rules, set(self.shared), self.last)
        for node in alone:
            if node not in found.group_of:
                found.add(node)
        return found


def standing_on(facts: Facts, rules: Rules, outside: Collection[Node]) -> Standing:
    """`outside` are shared values, by all facts; what these facts contest comes with them."""
    found = contests(facts, rules, outside)
    return Standing(facts, rules, frozenset(outside) | found.open, frozenset(found.settled), frozenset(found.open))


class Obstacle(NamedTuple):
    """What keeps two apart.

    FORBIDDEN: `nodes` are the pair that people keep apart, `link` what would join their groups. LIMIT: of `namespace`, one
    customer may not have the values of both. SHARED, CONTESTED, BLOCKED: `nodes` is the one value that both were seen with.
    ONE_PER_SOURCE: `namespace` is the source that keeps each person once. LOW_CERTAINTY: `nodes` match, and not enough. CROWDED: `nodes` were seen
    in so many ways that those in which they would join the two, or lead to what else keeps them apart, count no more.
    """

    kind: Kind
    nodes: tuple[Node, ...] = ()
    namespace: str = ""
    link: Link | None = None
    doubts: tuple[Doubt, ...] = ()  # of low certainty


def without(standing: Standing, obstacle: Obstacle) -> Standing:
    """As it would be if the decision were withdrawn, the limit or the bound lifted, or the value neither shared, contested nor blocked."""
    facts, rules, shared, last, contested = standing
    match obstacle.kind:
        case "FORBIDDEN":
            facts = replace(facts, forbidden=facts.forbidden - {pair(*obstacle.nodes)})
        case "LIMIT":
            rules = _without_limit(rules, rules.of(obstacle.namespace))
        case "CLUSTER_TOO_LARGE":
            rules = msgspec.structs.replace(rules, max_cluster=len(facts.nodes()) + 2)
        case "BLOCKED":
            rules = msgspec.structs.replace(rules, blocked=rules.blocked - {node.value_hash for node in obstacle.nodes})
            shared, facts = shared - set(obstacle.nodes), _everywhere(facts, obstacle)
        case "SHARED":
            shared, facts = shared - set(obstacle.nodes), _everywhere(facts, obstacle)
        case "CONTESTED":
            shared = shared - set(obstacle.nodes)
        case "CROWDED":
            rules = msgspec.structs.replace(rules, max_sightings=_enough(facts))
        case "ONE_PER_SOURCE":
            once = tuple(source for source in rules.matching.one_per_source if source != obstacle.namespace)
            rules = msgspec.structs.replace(rules, matching=msgspec.structs.replace(rules.matching, one_per_source=once))
        case "LOW_CERTAINTY":
            ends = pair(*obstacle.nodes)
            certain = facts.matched[ends]._replace(weight=inf, witnessed_weight=inf)
            facts = replace(facts, matched=facts.matched | {ends: certain})
    return Standing(facts, rules, shared, last, contested)


def _everywhere(facts: Facts, obstacle: Obstacle) -> Facts:
    """Of a kiosk not all sightings are at hand, so that nobody tells in which it would take part."""
    return replace(facts, everywhere=facts.everywhere | {*obstacle.nodes})


def _without_limit(rules: Rules, namespace: Namespace) -> Rules:
    """The limit of namespaces that aren't listed is one rule."""
    lifted = msgspec.structs.replace(namespace, limit=None)
    if namespace is rules.others:
        return msgspec.structs.replace(rules, others=lifted)
    listed = tuple(lifted if one is namespace else one for one in rules.namespaces)
    return msgspec.structs.replace(rules, namespaces=listed)


def _enough(facts: Facts) -> int:
    """Sightings, of which no value was seen in more."""
    return len(facts.together) + 1
