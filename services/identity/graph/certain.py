"""What is certainly one: all that evidence or people join, without any match. Pure.

Candidates are taken before matches (`resolve`), so it is the same whatever matches.
"""

from typing import Generic, TypeVar

from services.identity.graph.facts import Node
from services.identity.graph.resolve import Partition

Member = TypeVar("Member")


class Trees(Generic[Member]):
    """Who hangs together; what was never joined is by itself."""

    def __init__(self) -> None:
        self._parent: dict[Member, Member] = {}

    def root(self, member: Member) -> Member:
        while (parent := self._parent.setdefault(member, member)) != member:
            self._parent[member] = member = self._parent[parent]
        return member

    def join(self, one: Member, other: Member) -> bool:
        """Whether they were two."""
        one, other = self.root(one), self.root(other)
        self._parent[other] = one
        return one != other


def certain_parts(partition: Partition) -> dict[Node, Node]:
    """By identifier one that stands for its part; parts of one group are only likely one."""
    trees = Trees[Node]()
    for link in partition.links:
        if link.weight is None:
            trees.join(link.strong, link.weak)
    return {node: trees.root(node) for node in partition.group_of}
