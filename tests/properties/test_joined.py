"""Laws of who belongs together: whoever looks ahead finds the same, and a long chain in a few loads."""

from collections.abc import Collection
from itertools import pairwise
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from services.profile import clusters
from services.profile.clusters import RINGS_ONE_BY_ONE, joined
from services.profile.domain.lineage import ever_reachable
from services.profile.domain.state import Held, State, reachable

STREAMS = [bytes([number]) for number in range(9)]
one = st.sampled_from(STREAMS)
merges = st.lists(st.tuples(one, one, st.booleans(), st.booleans()), max_size=14)  # known by then, taken back by then
Merge = tuple[bytes, bytes, bool, bool]


class Loads:
    """States that come of merges; it counts how often they were loaded."""

    def __init__(self, merged: Collection[Merge], streams: Collection[bytes]) -> None:
        self.held = {stream: Held(_state(stream, merged)) for stream in streams}
        self.count = 0

    async def load(self, streams: Collection[bytes]) -> dict[bytes, Held]:
        self.count += 1
        return {stream: self.held[stream] for stream in streams if stream in self.held}


def _state(stream: bytes, merged: Collection[Merge]) -> State:
    own = [
        (bytes([number]), other, cut)
        for number, (a, b, _, cut) in enumerate(merged)
        for end, other in ((a, b), (b, a))
        if end == stream
    ]
    return State(edges={merge_id: other for merge_id, other, _ in own}, cut={merge_id for merge_id, _, cut in own if cut})


def _then(merged: Collection[Merge]) -> list[Merge]:
    """As it was known then; what is taken back now wasn't."""
    return [(a, b, known, False) for a, b, known, _ in merged if known]


@given(merges, st.lists(one, min_size=1, unique=True), st.lists(one, unique=True), st.integers(1, 3), st.booleans())
async def test_who_looks_ahead_finds_the_same(
    merged: list[Merge], asked: list[bytes], unknown: list[bytes], rings: int, ever: bool
) -> None:
    along = ever_reachable if ever else reachable
    then, now = Loads(_then(merged), set(STREAMS) - set(unknown)), Loads(merged, STREAMS)
    with patch.object(clusters, "RINGS_ONE_BY_ONE", rings):
        assert await joined(asked, then.load, now.load, along) == await joined(asked, then.load, None, along)


@given(merges, one)
async def test_those_are_given_whom_merges_lead_to(merged: list[Merge], asked: bytes) -> None:
    found, edges = {asked}, [(a, b) for a, b, _, cut in merged if not cut]
    for _ in STREAMS:
        found |= {b for a, b in edges if a in found} | {a for a, b in edges if b in found}
    assert (await joined([asked], Loads(merged, STREAMS).load)).keys() == found


async def test_a_chain_is_loaded_in_a_few_rings_also_where_it_is_cut_by_now() -> None:
    streams = [number.to_bytes(2) for number in range(300)]
    chain = [(one, other, True, number % 7 == 0) for number, (one, other) in enumerate(pairwise(streams))]
    then, now = _of_chain(chain, streams, cut=False), _of_chain(chain, streams, cut=True)
    assert (await joined([streams[0]], then.load, now.load)).keys() == set(streams)
    assert then.count == RINGS_ONE_BY_ONE + 1


def _of_chain(chain: Collection[Merge], streams: Collection[bytes], *, cut: bool) -> Loads:
    loads = Loads([], streams)
    for number, (one, other, _, taken_back) in enumerate(chain):
        merge_id = number.to_bytes(2)
        for end, far in ((one, other), (other, one)):
            loads.held[end].state.edges[merge_id] = far
            loads.held[end].state.cut |= {merge_id} if cut and taken_back else set()
    return loads
