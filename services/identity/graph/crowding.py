"""What a value says that was seen in very many ways: a bot's user id, a login that everybody knows, a kiosk. Pure.

A value takes part in the `max_sightings` earliest of the sightings of it, and in the others it says nothing: neither links nor
owns. So nothing that it linked is lost when it becomes **crowded**, whatever comes in whatever order, and no more than its
first sightings have to be at hand to tell what a new one changes. When some of those are gone, the next ones take their place.
A shared value is told by fewer: by those that show enough owners.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from services.identity.graph.facts import Evidence, Facts, Node
from services.identity.graph.rules import Rules

Place = tuple[Evidence, list[Node]]  # of a sighting, in the order of all


def place(together: frozenset[Node], evidence: Evidence) -> Place:
    return evidence, sorted(together)


def crowded(facts: Facts, rules: Rules) -> dict[Node, Place]:
    """The last sighting that these take part in: values of which there are as many as they may take part in, or more.

    What is seen by itself is no sighting.
    """
    if len(facts.together) < rules.max_sightings:
        return {}
    left_out = facts.beyond | facts.everywhere
    counts = Counter(node for together in facts.together if len(together) > 1 for node in together - left_out)
    places: dict[Node, list[Place]] = {node: [] for node, count in counts.items() if count >= rules.max_sightings}
    for together, evidence in facts.together.items() if places else ():
        for node in places.keys() & together if len(together) > 1 else ():
            places[node].append(place(together, evidence))
    return {node: sorted(found)[rules.max_sightings - 1] for node, found in places.items()}


class Taking:
    """Which values take part in which sightings."""

    def __init__(self, facts: Facts, rules: Rules) -> None:
        self._facts = facts
        self.last: Mapping[Node, Place] = crowded(facts, rules)

    def part(self, together: frozenset[Node], evidence: Evidence) -> frozenset[Node]:
        if not self.last and not self._facts.beyond:
            return together
        here, left = place(together, evidence), together - self._facts.beyond
        return frozenset(node for node in left if len(together) == 1 or node not in self.last or here <= self.last[node])

    def facts(self) -> Facts:
        """As if what takes no part in a sighting hadn't been seen in it."""
        if not self.last and not self._facts.beyond:
            return self._facts
        found = replace(self._facts, together={}, beyond=set())
        for together, evidence in self._facts.together.items():
            if part := self.part(together, evidence):
                found.see(part, evidence)
        return found


def taking_part(facts: Facts, rules: Rules) -> Facts:
    """As `Taking.facts`."""
    return Taking(facts, rules).facts()


def shared(facts: Facts, rules: Rules) -> set[Node]:
    """Identifiers with too many owners to say who somebody is: a kiosk, a family's mailbox, team@; and blocked ones.

    Owners are those that were seen in the sightings that a value takes part in, whether or not they do.
    """
    owners: dict[Node, dict[str, set[Node]]] = defaultdict(lambda: defaultdict(set))
    blocked: set[Node] = set()
    taking = Taking(facts, rules)
    for nodes, evidence in facts.together.items():
        blocked |= {node for node in nodes if node.value_hash in rules.blocked}
        for node in taking.part(nodes, evidence):
            _own(owners[node], node, nodes, rules)
    return (blocked - facts.beyond) | {node for node, found in owners.items() if _is_shared(node, found, rules)}


def told_by(node: Node, facts: Facts, rules: Rules) -> tuple[bool, Evidence | None]:
    """Whether a value is shared, and the sighting from which on no later one says anything of that, or of whom it links.

    `facts` hold the earliest `max_sightings` sightings of it, or all. None: there is no such sighting yet.
    """
    owners: dict[str, set[Node]] = defaultdict(set)
    places = sorted(place(nodes, evidence) for nodes, evidence in facts.together.items() if node in nodes and len(nodes) > 1)
    mine = places[: rules.max_sightings]
    for evidence, nodes in mine:
        _own(owners, node, nodes, rules)
        if _is_shared(node, owners, rules):
            return True, evidence
    return node.value_hash in rules.blocked, mine[-1][0] if len(mine) == rules.max_sightings else None


def _own(owners: dict[str, set[Node]], node: Node, nodes: Iterable[Node], rules: Rules) -> None:
    rank = rules.rank(node.namespace)
    for other in nodes:
        if rules.rank(other.namespace) < rank and other.value_hash not in rules.blocked:
            owners[other.namespace].add(other)


def _is_shared(node: Node, owners: Mapping[str, set[Node]], rules: Rules) -> bool:
    return rules.is_shared(node.namespace, [(name, len(values)) for name, values in owners.items()])
