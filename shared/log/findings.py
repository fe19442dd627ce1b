"""What an audit finds wrong, and how it tells an altered event from an altered leaf and from two that changed places. Pure."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from typing import Literal, NamedTuple

from shared.log.merkle import inner_hash

Code = Literal[
    "EVENT_ALTERED",  # the event is not what its leaf was made of, and the leaf is what was recorded
    "LEAF_ALTERED",  # the stored leaf is not what the event gives, and the event is what was recorded
    "LEAF_MISMATCH",  # one of the two was altered, and nothing is left that tells which
    "EVENTS_SWAPPED",  # two events stand in each other's place
    "EVENTS_MISSING",  # rows were removed
    "EVENT_MISPLACED",  # where none can be: before the first position, a second one at a position, far beyond the others
    "BLOCK_ALTERED",  # something among up to 256 events was changed together with its leaf
    "HISTORY_REWRITTEN",  # the events contradict a signed checkpoint, and so do the stored nodes
    "LOG_TRUNCATED",  # a signed checkpoint is of more events than there are
    "VERSION_WRONG",  # a stream doesn't count 1, 2, 3, ...
    "TIME_BACKWARDS",  # recorded earlier than the event before
    "EVENT_DOUBLED",  # with the id of an earlier event of its stream: an effect was had twice
    "EVENT_MISROUTED",  # in a partition where its stream doesn't belong, and nobody looks for it
    "PARTITION_MISSING",  # its head is gone
    "PARTITION_UNEXPECTED",  # the log has no such partition, and its tables have something of it
    "KEPT_UNMATCHED",  # a checkpoint that was kept is of no partition of these logs
    "HEAD_ALTERED",
    "NODE_ALTERED",
    "NODE_MISSING",
    "NODE_UNEXPECTED",
    "CHECKPOINT_ALTERED",
    "CHECKPOINTS_MISSING",  # a log has one from before its first event on
    "SIGNING_REFUSED",  # the service knows that the log isn't what it signed
]

MAX_MIXTURE = 8  # of events and leaves that disagree in one block, so many are told apart one by one


class Finding(NamedTuple):
    """`first` to `last` are positions; None when it is not about events."""

    code: Code
    first: int | None
    last: int | None
    text: str


class Explanation(NamedTuple):
    """The leaves that were recorded, and how what is stored differs from them: (code, index, other index)."""

    leaves: list[bytes]
    differences: list[tuple[Code, int, int]]


# The roots of the perfect subtrees over some leaves, largest first -> whether they fit the evidence.
Fits = Callable[[Sequence[bytes]], bool]


def explain(recomputed: Sequence[bytes | None], stored: Sequence[bytes | None], fits: Fits, search: bool) -> Explanation | None:
    """What was recorded, if one of a few stories fits: nothing happened, events or leaves altered, two events swapped.

    `recomputed` are the leaves that the events give, `stored` those beside them; None where an event is missing, which no
    story explains. The search for a swap takes half a second for 256 leaves, so the caller says whether to.
    """
    mine = [leaf for leaf in recomputed if leaf is not None]
    theirs = [leaf for leaf in stored if leaf is not None]
    if len(mine) < len(recomputed):
        return None
    differing = [index for index, leaf in enumerate(mine) if leaf != theirs[index]]
    for choice in _choices(len(differing)):
        leaves = list(mine)
        for index, event_altered in zip(differing, choice, strict=True):
            leaves[index] = theirs[index] if event_altered else mine[index]
        if fits(_tops(_levels(leaves))):
            codes: list[Code] = ["EVENT_ALTERED" if event_altered else "LEAF_ALTERED" for event_altered in choice]
            return Explanation(leaves, [(code, index, index) for code, index in zip(codes, differing, strict=True)])
    if search and not differing and (pair := _find_swap(mine, fits)):
        one, other = pair
        mine[one], mine[other] = mine[other], mine[one]
        return Explanation(mine, [("EVENTS_SWAPPED", one, other)])
    return None


def _choices(count: int) -> Iterator[tuple[bool, ...]]:
    """Which of the differing events were altered (else their leaves were): all events right, all leaves right, mixtures."""
    yield (False,) * count
    if count:
        yield (True,) * count
    if 1 < count <= MAX_MIXTURE:
        yield from (choice for choice in product((False, True), repeat=count) if len(set(choice)) > 1)


def _find_swap(leaves: Sequence[bytes], fits: Fits) -> tuple[int, int] | None:
    trees = _levels(leaves)
    for one, other in combinations(range(len(leaves)), 2):
        if leaves[one] != leaves[other] and fits(_tops_with(trees, {one: leaves[other], other: leaves[one]})):
            return one, other
    return None


Levels = list[list[bytes]]  # of a perfect tree: leaves, their parents, ..., its root


def _levels(leaves: Sequence[bytes]) -> list[Levels]:
    trees, first = [], 0
    while first < len(leaves):
        levels = [list(leaves[first : first + (1 << ((len(leaves) - first).bit_length() - 1))])]
        first += len(levels[0])
        while len(levels[-1]) > 1:
            below = levels[-1]
            levels.append([inner_hash(below[at], below[at + 1]) for at in range(0, len(below), 2)])
        trees.append(levels)
    return trees


def _tops(trees: Sequence[Levels]) -> list[bytes]:
    return [levels[-1][0] for levels in trees]


def _tops_with(trees: Sequence[Levels], changes: dict[int, bytes]) -> list[bytes]:
    """The roots if some leaves were others; only their paths are computed."""
    tops, first = [], 0
    for levels in trees:
        end = first + len(levels[0])
        changed = {index - first: leaf for index, leaf in changes.items() if first <= index < end}
        for level in levels[:-1]:
            changed = {
                at >> 1: inner_hash(changed.get(at & ~1, level[at & ~1]), changed.get(at | 1, level[at | 1])) for at in changed
            }
        tops.append(changed.get(0, levels[-1][0]))
        first = end
    return tops
