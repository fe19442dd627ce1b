"""What the partition is made from. Pure.

A fact stays true whatever is concluded from it, and can be taken back as if it had never been. Events that saw the same
identifiers together are one fact, with the earliest of them as its evidence.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple


class Node(NamedTuple):
    """An identifier: its namespace and the keyed hash of its value."""

    namespace: str
    value_hash: bytes


class Evidence(NamedTuple):
    """The earliest event of a fact; the smaller is the earlier, and the id makes the order total."""

    occurred_at: int
    event_id: bytes


class Match(NamedTuple):
    """What speaks for two identifiers being one person's, though nothing was seen together (`matching`)."""

    weight: float  # bits
    witnessed_weight: float  # bits, where something bears witness to it (`records/likeness`); minus infinity where nothing does
    evidence: Evidence  # the event since which all that was compared is said
    unrivalled: float = -inf  # bits, where neither could be anybody else: of sources that have each person once, two different ones


Pair = frozenset[Node]


def pair(one: Node, other: Node) -> Pair:
    return frozenset((one, other))


@dataclass(slots=True)
class Facts:
    """What is known of identifiers: seen, decided, matched.

    `together` are sets of identifiers that were seen in one event; `forced` and `forbidden` are decisions by hand. `matched` are
    pairs whose records are alike, and `recorded_by` the sources that have a record of an identifier. `beyond` are identifiers
    that take part in no sighting here (`crowding`): of those in which they do, none is here. `everywhere` are those of which it is asked
    what would be if they took part in all.
    """

    together: dict[frozenset[Node], Evidence] = field(default_factory=dict)
    forced: set[Pair] = field(default_factory=set)
    forbidden: set[Pair] = field(default_factory=set)
    matched: dict[Pair, Match] = field(default_factory=dict)
    recorded_by: dict[Node, frozenset[str]] = field(default_factory=dict)
    beyond: set[Node] = field(default_factory=set)
    everywhere: frozenset[Node] = frozenset()

    def see(self, identifiers: Iterable[Node], evidence: Evidence) -> bool:
        """Whether it is news: an event that adds no fact and no earlier evidence changes nothing."""
        nodes = frozenset(identifiers)
        known = self.together.get(nodes)
        if known is not None and known <= evidence:
            return False
        self.together[nodes] = evidence
        return True

    def nodes(self) -> set[Node]:
        """All that are linked to something. What is only forbidden isn't: it says nothing of anybody by itself."""
        seen = {node for nodes in self.together for node in nodes}
        return seen.union(*self.forced, *self.matched) - self.beyond
