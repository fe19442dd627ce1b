"""Whose a value is that isn't unique: a mailbox, a phone, a device. Pure, and independent of any order.

A value proves that two identifiers are one person's only if it is one person's itself. What else it was seen with says so: when
that names two people without the value's help, the value is contested and links neither of them, since which of the two it would
go to is a guess. Unlike a shared value, a contested one stays in its component, so that all that decides about it is at hand;
unless that is certain, and the component ends there (`borders`).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from services.identity.graph.crowding import shared, taking_part
from services.identity.graph.facts import Facts, Node
from services.identity.graph.questions import of_contested
from services.identity.graph.resolve import Partition, resolve
from services.identity.graph.rules import Rules

Seen = Mapping[Node, set[Node]]


class Contests(NamedTuple):
    """Values of two people: `open` ones link nobody; of `settled` ones people decided that the two are one, so they link, last of what was seen."""

    open: set[Node]
    settled: set[Node]


def divide(facts: Facts, rules: Rules, shared_values: set[Node] | None = None) -> Partition:
    """Who is who. `shared_values` has to be given when `facts` are those of a component: owners may stand outside.

    What a contested value would have joined and rules keep apart is told with the rejected links, between the people themselves.
    """
    outside = shared(facts, rules) if shared_values is None else shared_values
    found = contests(facts, rules, outside)
    partition = resolve(facts, rules, outside | found.open, found.settled)
    partition.contested = found.open
    partition.rejected += of_contested(facts, rules, partition)
    return partition


def contests(facts: Facts, rules: Rules, outside: Collection[Node]) -> Contests:
    """Values that were seen with two people. `outside` are shared values, which say nothing of anybody.

    What unique identifiers say goes first, then what addresses say of each other, then of devices; and at last whom the devices
    lead to that an address was seen with. So a mailbox of two users is no reason to doubt the phone of one of them, nor a
    tablet of two to doubt their mailboxes. Matches say nothing here: they add to what is certain. What people decided to be
    one settles what was contested, and never makes anything contested that by itself wasn't: nothing falls out of a customer.
    """
    facts = taking_part(facts, rules)
    if not _told_apart(facts, rules, outside):
        return Contests(set(), set())
    found = _contested(replace(facts, forced=set()), rules, outside)
    still = found & _contested(facts, rules, outside) if found and facts.forced else found
    return Contests(still, found - still)


def _contested(facts: Facts, rules: Rules, outside: Collection[Node]) -> set[Node]:
    seen = _seen_with(facts, outside)
    names = {node.namespace for node in seen.keys() | set().union(*facts.forced)}
    unique = frozenset(name for name in names if rules.of(name).limit == 1)
    limited = frozenset(name for name in names if rules.of(name).limit is not None)
    devices = frozenset(name for name in names if rules.of(name).device)
    found: set[Node] = set()
    for asked, owners, through in (
        (names - devices, unique, frozenset()),
        (names - devices, limited, frozenset()),
        (devices, limited, frozenset()),
        (names - devices, limited, devices),
    ):
        found |= {
            node
            for name in asked
            if (mine := owners.intersection(rules.of(name).owned_by) - {name})
            for node in _of_two(name, mine, _among(facts, mine | through, outside, found), rules, seen, found)
        }
    return found


def _told_apart(facts: Facts, rules: Rules, outside: Collection[Node]) -> bool:
    """Whether there may be two people at all: mostly there is one value of each kind, and nothing to weigh."""
    owners = {name for namespace in (*rules.namespaces, rules.others) for name in namespace.owned_by}
    counts = Counter(node.namespace for node in facts.nodes() if node.namespace in owners and node not in outside)
    return any(count > 1 for count in counts.values())


def _seen_with(facts: Facts, outside: Collection[Node]) -> Seen:
    seen: dict[Node, set[Node]] = defaultdict(set)
    for together in facts.together:
        for node in together:
            if node not in outside:
                seen[node] |= together
    return seen


def _of_two(name: str, owners: frozenset[str], without: Facts, rules: Rules, seen: Seen, contested: set[Node]) -> Iterator[Node]:
    """Values of a namespace that were seen with two people, as its owners name them by the facts without it."""
    people = resolve(without, rules, set())
    for node in seen:
        if node.namespace == name and node not in contested and _people(seen[node], owners, people) > 1:
            yield node


def _among(facts: Facts, names: Collection[str], outside: Collection[Node], contested: Collection[Node]) -> Facts:
    """What was seen and decided of some namespaces; also of what was seen by nobody but itself, when people joined others to it."""

    def counts(node: Node) -> bool:
        return node.namespace in names and node not in outside and node not in contested

    inside = Facts()
    for together, evidence in facts.together.items():
        if kept := frozenset(filter(counts, together)):
            inside.see(kept, evidence)
    inside.forced = {decided for decided in facts.forced if all(map(counts, decided))}
    inside.forbidden = {decided for decided in facts.forbidden if all(map(counts, decided))}
    return inside


def _people(nodes: Collection[Node], owners: Collection[str], people: Partition) -> int:
    """How many there are at least: two values of one kind that nothing joins are two people's, a mailbox and a phone may be one's.

    What was joined by hand is one, and brings no further values: nothing is contested for it that wasn't before.
    """
    known = [node for node in nodes if node in people.group_of]
    return max(
        (len({id(people.group_of[node]) for node in known if name in people.part_of[node].values}) for name in owners), default=0
    )
