"""The tree above whole blocks, as an audit follows it. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from shared.log import merkle
from shared.log.merkle import BLOCK_HEIGHT, Node


class Tree(NamedTuple):
    """Frontier of whole blocks: its leaves are roots of 256 events."""

    blocks: int
    frontier: tuple[bytes, ...]

    def with_block(self, root: bytes) -> tuple["Tree", list[Node]]:
        frontier, nodes = merkle.append(self.blocks, self.frontier, [root])
        higher = [Node(height + BLOCK_HEIGHT, number, node) for height, number, node in nodes]
        return Tree(self.blocks + 1, tuple(frontier)), higher

    def root(self, tops: Iterable[bytes]) -> bytes:
        """Of all blocks and of the subtrees of the last, unfinished one."""
        return merkle.root_of([*self.frontier, *tops])


def root_of_known(leaves: Sequence[bytes | None]) -> bytes | None:
    """Of some leaves, unless one is not known."""
    known = [leaf for leaf in leaves if leaf is not None]
    return merkle.root_of_leaves(known) if len(known) == len(leaves) else None
