"""The law of parts: a stream that is folded in any parts and joined is the stream folded whole, in everything that a state keeps."""

from random import Random
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain import said
from services.profile.domain import state as states
from services.profile.domain.fold import MAX_TRAIT_BYTES
from services.profile.domain.joining import whole_of
from services.profile.domain.rules import Keeping
from services.profile.domain.state import fork, state_hash
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import derived_id
from tests.properties.histories import KEY, SOURCES, STREAMS, entries, fold, founded
from tests.properties.purchases import compiled, every_kind, once, purchases

STREAM = STREAMS[0]
MERGE = derived_id(b"merge")
keepings = st.builds(
    Keeping,
    named=st.sampled_from([frozenset(), frozenset({"city", "tier"})]),
    others=st.booleans(),
    computed=st.sampled_from([None, compiled(every_kind())]),
    first=st.sampled_from([frozenset(), frozenset({"tier", "trait 3"})]),
)


@st.composite
def rarer(draw: st.DrawFn) -> Entry:
    """What is said of large values, shared identifiers, matches, restriction and erasure."""
    at, number = draw(st.integers(0, 20)), draw(st.integers(0, 5))
    hashes = tuple(derived_id(bytes([one])) for one in draw(st.lists(st.integers(0, 9), max_size=3)))
    activity = events.Activity(
        source=draw(st.sampled_from(SOURCES)), resolved_by=b"h" * 16, also_named=hashes, received_at=draw(st.integers(0, 30))
    )
    large = events.Identified(traits={f"trait {number}": draw(st.sampled_from(["x" * (MAX_TRAIT_BYTES + 1), "x", None]))})
    likely, shared = draw(st.booleans()), draw(st.booleans())
    linked = events.IdentifierLinked(namespace="email", value_hash=b"%d" % number, cause=b"", likely=likely)
    unlinked = events.IdentifierUnlinked(link_id=derived_id(b"link"), value_hash=b"%d" % number, cause=b"", shared=shared)
    merged = events.CustomersMerged(merge_id=MERGE, other=STREAMS[1], other_founding_number=1, cause=b"", likely=likely)
    kind, public, personal = draw(
        st.sampled_from(
            [
                (events.IDENTIFIED, activity, large),
                (events.LINKED, linked, events.LinkedValue(value="a@shop.example")),
                (events.UNLINKED, unlinked, None),
                (events.MERGED, merged, None),
                (events.RESTRICTED, events.CustomerRestricted(erasure_id=b"e"), None),
                (events.ERASED, events.CustomerErased(erasure_id=b"e", policy="refuse", identifier_hashes=()), None),
            ]
        )
    )
    return make_entry(kind, STREAM, derived_id(repr((kind.id, at, public, number)).encode()), at, public, personal, KEY)


histories = st.lists(st.one_of(entries(), purchases(), purchases(), rarer()), max_size=30)


@given(histories, keepings, st.integers(1, 6), st.randoms(), st.booleans())
def test_parts_of_a_stream_joined_are_the_stream_folded_whole(
    history: list[Entry], keeping: Keeping, parts: int, random: Random, scarce: bool
) -> None:
    whole = once([founded(STREAM), *history])
    split: list[list[Entry]] = [[] for _ in range(parts)]
    for entry in random.sample(whole, len(whole)):
        random.choice(split).append(entry)
    room = 3 if scarce else 1_000
    with (
        patch("services.profile.domain.computed.definitions.MAX_OCCURRENCES", room),
        patch.object(states, "MAX_TOLD", room),
        patch.object(states, "MAX_NAMED", room),
        patch.object(said, "MAX_ASSERTIONS", 2 if scarce else 100),
    ):
        folded = [fold(part, keeping) for part in split]
        before = [state_hash(fork(state)) for state in folded]
        assert state_hash(whole_of(folded, keeping)) == state_hash(fold(whole, keeping))
        assert [state_hash(state) for state in folded] == before, "what is joined stays as it was"
