"""Checks a whole partition against itself and against everything that was ever signed about it. Pure: events in, findings out.

Three kinds of evidence bear on an event: its leaf; the node over its block of 256, and at the end of the log the head; and
the checkpoints, which alone are signed. Where they contradict each other, the signed one decides which was altered. While no
checkpoint has decided, two trees are kept: as the events give it, and as the nodes say.
"""

from collections.abc import Iterable

from shared.ids import partition_of, to_text
from shared.log import merkle
from shared.log.block_tree import Tree, root_of_known
from shared.log.doubles import Doubles
from shared.log.findings import Code, Explanation, Finding, Fits, explain
from shared.log.merkle import BLOCK_HEIGHT, BLOCK_LEAVES, Node
from shared.log.notes import Checkpoint, open_checkpoint
from shared.log.raw import RawCheckpoint, RawEvent, RawHead
from shared.log.records import leaf_of
from shared.notes import NoteBroken

MAX_GAP = 1_000_000  # positions; an event farther away than this is out of place, rather than all before it missing
MAX_MISSING = 10_000_000  # in all, a second or two; what comes after is out of place as well
HEIGHTS = frozenset(range(BLOCK_HEIGHT, 64, BLOCK_HEIGHT))  # that nodes are stored of; positions are 63 bits
MAX_SEARCHES = 20  # for two swapped events, half a second each


class PartitionAudit:
    """`add` every event in the order of its position, then `finish`. Memory: the streams' versions, the nodes, 16 bytes an event.

    `partitions` is how many the log has.
    """

    def __init__(
        self,
        head: RawHead,
        nodes: Iterable[Node],
        checkpoints: Iterable[RawCheckpoint],
        origin: str,
        public_key: bytes,
        partitions: int = 1,
    ) -> None:
        self._head = head
        self._partitions = partitions
        self._end = max(head.head.next_pos, head.last_pos + 1)  # what is beyond came after the head was read
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._missing = MAX_MISSING
        self._findings: list[Finding] = []
        self._doubles = Doubles()
        self._versions: dict[bytes, int] = {}
        self._recorded_at = 0
        self._position = 0  # the next
        self._recomputed: list[bytes | None] = []  # of the unfinished block
        self._stored: list[bytes | None] = []
        self._events = self._claimed = Tree(0, ())  # as the events give it; as the nodes say
        self._disputed: list[int] = []  # blocks since these two went apart
        self._unexplained = False  # the unfinished block doesn't fit its node, so it is about to be disputed
        self._postponed: list[Checkpoint] = []  # that fit neither tree, while blocks are disputed
        self._verified = 0  # size of the largest tree that fitted its checkpoint
        self._blind = False  # the tree can't be followed any more
        self._searches = MAX_SEARCHES
        self._take_nodes(nodes)
        opened = [self._open(found, origin, public_key) for found in checkpoints]
        self._checkpoints = sorted((c for c in opened if c is not None), key=lambda c: c.size, reverse=True)

    @property
    def verified(self) -> int:
        """How many events are covered by a checkpoint that fits."""
        return self._verified

    def add(self, event: RawEvent) -> None:
        record = event.record
        if record.pos >= self._end:
            return
        if not self._position <= record.pos <= self._position + min(MAX_GAP, self._missing):
            self._find("EVENT_MISPLACED", record.pos, record.pos, f"stands where position {self._position} was expected")
            return
        if record.pos > self._position:
            self._miss(record.pos)
        self._check_order(event)
        self._doubles.add(record.entry.stream, record.entry.event_id, record.pos)
        self._push(leaf_of(record.entry, record.version, record.recorded_at), event.leaf)

    def finish(self) -> list[Finding]:
        """In the order in which they came to light."""
        end = self._head.head.next_pos
        if self._position < end <= self._position + min(MAX_GAP, self._missing) and not self._head_fits():
            self._miss(end)
        self._check_checkpoints(self._position)
        self._check_head()
        self._report_mismatches()
        self._report_rewritten()
        for first, last in self._doubles.ranges():
            self._find("EVENT_DOUBLED", first, last, "an event with this id stood in its stream before")
        for checkpoint in reversed(self._checkpoints):
            self._find(
                "LOG_TRUNCATED", self._position, checkpoint.size - 1, f"a checkpoint was signed at tree size {checkpoint.size}"
            )
        for height, number in sorted(self._nodes):
            self._find("NODE_UNEXPECTED", None, None, f"node {number} of height {height} has no complete subtree")
        return self._findings

    def _take_nodes(self, nodes: Iterable[Node]) -> None:
        impossible = 0
        for node in nodes:
            if node.height not in HEIGHTS or node.number < 0:
                impossible += 1
            elif (node.number + 1) << node.height <= self._end:
                self._nodes[node.height, node.number] = node.hash
        if impossible:
            self._find("NODE_UNEXPECTED", None, None, f"{impossible} of a height or number that no stored node has")

    def _open(self, found: RawCheckpoint, origin: str, public_key: bytes) -> Checkpoint | None:
        try:
            checkpoint = open_checkpoint(found.note, origin, public_key)
        except NoteBroken as broken:
            self._find("CHECKPOINT_ALTERED", None, None, f"checkpoint at tree size {found.tree_size}: {broken}")
            return None
        if checkpoint.size != found.tree_size:
            said = f"checkpoint at tree size {found.tree_size}: its note is signed for {checkpoint.size}"
            self._find("CHECKPOINT_ALTERED", None, None, said)
        return checkpoint

    def _find(self, code: Code, first: int | None, last: int | None, text: str) -> None:
        self._findings.append(Finding(code, first, last, text))

    def _miss(self, end: int) -> None:
        self._find("EVENTS_MISSING", self._position, end - 1, "the rows are gone")
        self._missing -= end - self._position
        while self._position < end:
            if not self._recomputed and self._position + BLOCK_LEAVES <= end:
                self._recomputed, self._stored = [None] * BLOCK_LEAVES, [None] * BLOCK_LEAVES
                self._position += BLOCK_LEAVES
                self._close_block()
            else:
                self._push(None, None)

    def _check_order(self, event: RawEvent) -> None:
        record, stream = event.record, event.record.entry.stream
        if (belongs := partition_of(stream, self._partitions)) != self._head.partition:
            self._find("EVENT_MISROUTED", record.pos, record.pos, f"its stream belongs to partition {belongs}")
        expected = self._versions.get(stream, 0) + 1
        if record.version != expected:
            said = (
                f"stream {to_text(stream) if len(stream) == 16 else stream.hex()} has version {record.version} after {expected - 1}"
            )
            self._find("VERSION_WRONG", record.pos, record.pos, said)
        self._versions[stream] = record.version
        if record.recorded_at < self._recorded_at:
            self._find("TIME_BACKWARDS", record.pos, record.pos, "was recorded earlier than the event before it")
        self._recorded_at = record.recorded_at

    def _push(self, recomputed: bytes | None, stored: bytes | None) -> None:
        self._recomputed.append(recomputed)
        self._stored.append(stored)
        self._position += 1
        if len(self._recomputed) == BLOCK_LEAVES:
            self._close_block()

    def _close_block(self) -> None:
        number = self._position // BLOCK_LEAVES - 1
        node = self._nodes.pop((BLOCK_HEIGHT, number), None)
        explanation = None
        if node is None:
            self._find("NODE_MISSING", None, None, f"node {number} of height {BLOCK_HEIGHT} is gone")
        elif (explanation := self._explain(lambda tops: [*tops] == [node])) is not None:
            self._accept(explanation)
        self._unexplained = node is not None and explanation is None
        self._check_checkpoints(self._position - 1)
        self._move_trees(number, node)
        self._report_mismatches()
        self._recomputed, self._stored, self._unexplained = [], [], False
        self._check_checkpoints(self._position)

    def _report_mismatches(self) -> None:
        start = self._position - len(self._recomputed)
        for index, (mine, theirs) in enumerate(zip(self._recomputed, self._stored, strict=True)):
            if mine != theirs:
                said = "the event and the leaf beside it disagree; which was changed can't be told"
                self._find("LEAF_MISMATCH", start + index, start + index, said)

    def _move_trees(self, number: int, node: bytes | None) -> None:
        computed = root_of_known(self._recomputed) or node
        claimed = node or root_of_known(self._stored)
        if computed is None or claimed is None:
            self._blind = True
            return
        if computed != claimed:
            self._disputed.append(number)
        self._events, higher = self._events.with_block(computed)
        self._claimed, _ = self._claimed.with_block(claimed)
        for above in higher:
            if self._nodes.pop((above.height, above.number), None) != above.hash and not self._disputed:
                said = f"node {above.number} of height {above.height} is not what the events give"
                self._find("NODE_ALTERED", None, None, said)

    def _check_checkpoints(self, end: int) -> None:
        """Those of trees of up to `end` events, which are in the unfinished block or at its beginning."""
        while self._checkpoints and self._checkpoints[-1].size <= end:
            checkpoint = self._checkpoints.pop()
            if self._blind or self._fits(checkpoint.size, checkpoint.root):
                continue
            self._postponed.append(checkpoint)
            if not self._disputed and not self._unexplained:
                self._report_rewritten()

    def _report_rewritten(self) -> None:
        """These checkpoints will fit nothing any more; without a tree that fits, later ones can't either."""
        for checkpoint in self._postponed[:1]:
            said = f"contradict the checkpoint that was signed at tree size {checkpoint.size}"
            self._find("HISTORY_REWRITTEN", self._verified, checkpoint.size - 1, said)
            self._blind = True
        self._postponed = []

    def _fits(self, size: int, root: bytes) -> bool:
        """Whether what is stored can be explained so that it fits; then it is, and disputes are settled."""
        length = size - self._events.blocks * BLOCK_LEAVES
        for tree in (self._events, self._claimed):
            found = self._explain(lambda tops, tree=tree: tree.root(tops) == root, length)  # type: ignore[misc]
            if found is not None:
                self._accept(found)
                self._settle(tree)
                self._verified = size
                return True
        return None in self._recomputed[:length]  # that it is missing was said

    def _explain(self, fits: Fits, length: int = BLOCK_LEAVES) -> Explanation | None:
        recomputed, stored = self._recomputed[:length], self._stored[:length]
        if None in recomputed:
            return None  # no story explains it
        found = explain(recomputed, stored, fits, search=False)
        if found is None and self._searches > 0:
            self._searches -= 1
            found = explain(recomputed, stored, fits, search=True)
        return found

    def _accept(self, explanation: Explanation) -> None:
        start = self._position - len(self._recomputed)
        for code, one, other in explanation.differences:
            self._find(code, start + one, start + other, TEXTS[code])
        self._recomputed[: len(explanation.leaves)] = self._stored[: len(explanation.leaves)] = explanation.leaves

    def _settle(self, right: Tree) -> None:
        for number in self._disputed:
            if right is self._events:
                self._find("NODE_ALTERED", None, None, f"node {number} of height {BLOCK_HEIGHT} is not what the events give")
            else:
                first = number * BLOCK_LEAVES
                self._find("BLOCK_ALTERED", first, first + BLOCK_LEAVES - 1, "an event was changed together with its leaf")
        if right is self._events:
            self._report_rewritten()
        self._disputed, self._postponed = [], []
        self._events = self._claimed = right

    def _head_fits(self) -> bool:
        """Whether the head is that of the events there are, but for the number."""
        tops = merkle.append(0, (), [leaf or b"" for leaf in self._recomputed])[0]
        return self._head.head.merkle_frontier == merkle.pack([*self._events.frontier, *tops])

    def _check_head(self) -> None:
        head, verified = self._head.head, self._verified
        if head.next_pos != self._position:
            self._find("HEAD_ALTERED", None, None, f"says that {head.next_pos} comes next, and {self._position} does")
        if head.last_recorded_at != self._recorded_at and self._recomputed[-1:] != [None]:
            self._find("HEAD_ALTERED", None, None, "has another instant than the last event")
        if self._blind:
            return
        try:
            root = merkle.root_of(merkle.unpack(head.merkle_frontier, self._position))
        except ValueError:
            root = b""
        if not self._fits(self._position, root):
            said = "is not the tree of the events" + (
                "" if verified == self._position else f", or one from {verified} on was altered"
            )
            self._find("HEAD_ALTERED", None, None, said)
        self._verified = verified


TEXTS: dict[Code, str] = {
    "EVENT_ALTERED": "the event was changed after it was recorded",
    "LEAF_ALTERED": "the leaf beside the event was changed",
    "EVENTS_SWAPPED": "these two stand in each other's place",
}
