"""The Merkle tree of RFC 6962 (2.1): appending, roots, and both kinds of proof with their verification. Pure.

A tree is never held as a whole. What a writer keeps is its frontier: the roots of the perfect subtrees that its size is made
of, largest first; a tree of 11 leaves has the roots of 8, 2 and 1. Of all inner nodes, only those whose height is a multiple
of BLOCK_HEIGHT are stored, one row per 256 leaves; whoever makes a proof computes the others from at most 255 of these each.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
BLOCK_HEIGHT = 8
BLOCK_LEAVES = 1 << BLOCK_HEIGHT


class Node(NamedTuple):
    """The root of the perfect subtree over the leaves [number * 2**height, (number + 1) * 2**height)."""

    height: int
    number: int  # among those of its height, from 0
    hash: bytes


class Range(NamedTuple):
    """The leaves [first, end); `first` is a multiple of the next power of two at or above the length."""

    first: int
    end: int


# (height, first number, count) -> the hashes of consecutive stored nodes; height 0 is leaves.
ReadNodes = Callable[[int, int, int], Sequence[bytes]]


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def inner_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def append(size: int, frontier: Sequence[bytes], leaves: Iterable[bytes]) -> tuple[list[bytes], list[Node]]:
    """The frontier after `leaves` (leaf hashes), and those nodes that became complete and are to be stored."""
    sha256 = hashlib.sha256
    stack, complete = list(frontier), []
    for position, leaf in enumerate(leaves, start=size):
        node, height, number = leaf, 0, position
        while number & 1:
            node = sha256(b"\1" + stack.pop() + node).digest()
            height += 1
            number >>= 1
            if not height % BLOCK_HEIGHT:
                complete.append(Node(height, number, node))
        stack.append(node)
    return stack, complete


def root_of(frontier: Sequence[bytes]) -> bytes:
    if not frontier:
        return EMPTY_ROOT
    root = frontier[-1]
    for left in reversed(frontier[:-1]):
        root = inner_hash(left, root)
    return root


def root_of_leaves(leaves: Iterable[bytes]) -> bytes:
    return root_of(append(0, (), leaves)[0])


def pack(frontier: Sequence[bytes]) -> bytes:
    return b"".join(frontier)


def unpack(frontier: bytes, size: int) -> list[bytes]:
    """Raises ValueError when these can't be the hashes of a tree of `size` leaves."""
    if len(frontier) != HASH_BYTES * size.bit_count():
        raise ValueError(f"a frontier of {size} leaves has {size.bit_count()} hashes")
    return [frontier[at : at + HASH_BYTES] for at in range(0, len(frontier), HASH_BYTES)]


def inclusion_path(index: int, size: int) -> list[Range]:
    """The subtrees whose roots prove that leaf `index` is in a tree of `size` leaves: PATH of RFC 6962, 2.1.1."""
    assert 0 <= index < size
    first, end, path = 0, size, []
    while end - first > 1:
        middle = first + _largest_power_below(end - first)
        if index < middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(first, middle))
            first = middle
    return path[::-1]


def consistency_path(old: int, new: int) -> list[Range]:
    """The subtrees whose roots prove that a tree of `old` leaves is where one of `new` began: PROOF of RFC 6962, 2.1.2."""
    assert 0 <= old <= new
    if old in (0, new):
        return []
    first, end, path, known = 0, new, [], True  # known: the verifier has the root of [0, old)
    while old != end:
        middle = first + _largest_power_below(end - first)
        if old <= middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(first, middle))
            first, known = middle, False
    if not known:
        path.append(Range(first, end))
    return path[::-1]


def root_of_range(wanted: Range, read: ReadNodes) -> bytes:
    """From stored nodes."""
    return root_of([root_of_leaves(read(*stored)) for stored in stored_nodes(wanted)])


def stored_nodes(wanted: Range) -> Iterator[tuple[int, int, int]]:
    """(height, first number, count) of the stored nodes below each perfect subtree of a range, largest subtree first."""
    first = wanted.first
    while first < wanted.end:
        height = (wanted.end - first).bit_length() - 1
        stored_height = height - height % BLOCK_HEIGHT
        yield stored_height, first >> stored_height, 1 << (height - stored_height)
        first += 1 << height


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """By RFC 9162, 2.1.3.2. `leaf` is a leaf hash."""
    if not 0 <= index < size:
        return False
    node, last = leaf, size - 1
    for sibling in path:
        if last == 0:
            return False
        if index & 1 or index == last:
            node = inner_hash(sibling, node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = inner_hash(node, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """By RFC 9162, 2.1.4.2; an empty tree is where every tree began."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    nodes = list(path) if old & (old - 1) else [old_root, *path]  # a perfect old tree is its own first node
    if not nodes:
        return False
    index, last = old - 1, new - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old_node = new_node = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if index & 1 or index == last:
            old_node, new_node = inner_hash(sibling, old_node), inner_hash(sibling, new_node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            new_node = inner_hash(new_node, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and old_node == old_root and new_node == new_root


def _largest_power_below(number: int) -> int:
    return 1 << ((number - 1).bit_length() - 1)
