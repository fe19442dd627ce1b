"""Laws of the tree, against an oracle that is the definition in RFC 6962 (2.1), word by word and without any state."""

import hashlib
import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from shared.log import merkle

sizes = st.one_of(st.integers(1, 40), st.integers(250, 600))


def largest_power_below(number: int) -> int:
    power = 1
    while power * 2 < number:
        power *= 2
    return power


def mth(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = largest_power_below(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def leaves_of(size: int) -> list[bytes]:
    return [merkle.leaf_hash(number.to_bytes(4)) for number in range(size)]


class Stored:
    """What a log stores of its tree, filled by batches as a writer does."""

    def __init__(self, leaves: Sequence[bytes], cuts: Sequence[int] = ()) -> None:
        self.frontier: list[bytes] = []
        self.nodes = {(0, number): leaf for number, leaf in enumerate(leaves)}
        bounds = [0, *sorted(cut for cut in cuts if cut < len(leaves)), len(leaves)]
        for first, end in itertools.pairwise(bounds):
            self.frontier, complete = merkle.append(first, self.frontier, leaves[first:end])
            self.nodes |= {(node.height, node.number): node.hash for node in complete}

    def read(self, height: int, first: int, count: int) -> list[bytes]:
        return [self.nodes[height, number] for number in range(first, first + count)]


@given(sizes, st.lists(st.integers(0, 600), max_size=5))
def test_appending_in_any_batches_gives_the_root_of_the_definition(size: int, cuts: list[int]) -> None:
    leaves = leaves_of(size)
    stored = Stored(leaves, cuts)
    assert merkle.root_of(stored.frontier) == mth(leaves)
    assert merkle.unpack(merkle.pack(stored.frontier), size) == stored.frontier
    for (height, number), node in stored.nodes.items():
        assert node == mth(leaves[number << height : (number + 1) << height])


@given(sizes, st.data())
def test_an_inclusion_proof_is_the_definition_s_and_verifies(size: int, data: st.DataObject) -> None:
    index, leaves = data.draw(st.integers(0, size - 1)), leaves_of(size)
    proof = [merkle.root_of_range(part, Stored(leaves).read) for part in merkle.inclusion_path(index, size)]
    assert proof == path(index, leaves)
    assert merkle.verify_inclusion(leaves[index], index, size, proof, mth(leaves))


@given(sizes, st.data())
def test_a_consistency_proof_is_the_definition_s_and_verifies(new: int, data: st.DataObject) -> None:
    old, leaves = data.draw(st.integers(0, new)), leaves_of(new)
    proof = [merkle.root_of_range(part, Stored(leaves).read) for part in merkle.consistency_path(old, new)]
    assert proof == (subproof(old, leaves, True) if old else [])
    assert merkle.verify_consistency(old, new, mth(leaves[:old]), mth(leaves), proof)


@given(st.integers(1, 40), st.data())
def test_nothing_else_passes_for_an_inclusion(size: int, data: st.DataObject) -> None:
    index, leaves = data.draw(st.integers(0, size - 1)), leaves_of(size)
    proof, root = path(index, leaves), mth(leaves)
    other = data.draw(st.integers(0, size).filter(lambda other: other != index))
    assert not merkle.verify_inclusion(leaves[index], other, size, proof, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"forged"), index, size, proof, root)
    assert not merkle.verify_inclusion(leaves[index], index, size, [*proof, root], root)
    assert not proof or not merkle.verify_inclusion(leaves[index], index, size, proof[:-1], root)
    for at in range(len(proof)):
        assert not merkle.verify_inclusion(leaves[index], index, size, [*proof[:at], bytes(32), *proof[at + 1 :]], root)


@given(st.integers(2, 40), st.data())
def test_history_that_was_rewritten_is_consistent_with_nothing(new: int, data: st.DataObject) -> None:
    old, leaves = data.draw(st.integers(1, new - 1)), leaves_of(new)
    changed = data.draw(st.integers(0, old - 1))
    rewritten = [*leaves[:changed], merkle.leaf_hash(b"forged"), *leaves[changed + 1 :]]
    for proof in (subproof(old, leaves, True), subproof(old, rewritten, True)):
        assert not merkle.verify_consistency(old, new, mth(leaves[:old]), mth(rewritten), proof)
