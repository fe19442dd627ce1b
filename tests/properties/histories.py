"""Histories of synthetic people for property tests: what sources sent, already resolved to streams."""

from typing import Any

from hypothesis import strategies as st

from services.profile.domain.fold import evolve
from services.profile.domain.rules import PLAIN, Keeping
from services.profile.domain.state import State
from shared.events import customer as events
from shared.events.catalogue import Entry, EventType, Public, make_entry
from shared.ids import derived_id
from shared.privacy import Personal
from shared.vault import DataKey

KEY = DataKey(b"k" * 32)
STREAMS = [derived_id(b"stream", bytes([number])) for number in range(3)]
SOURCES = ["web", "app", "call-centre"]
TRAITS = ["first_name", "city", "tier"]

values = st.one_of(st.none(), st.text(max_size=4), st.integers(-5, 5), st.lists(st.integers(0, 3), max_size=2))


@st.composite
def entries(draw: st.DrawFn, streams: list[bytes] = STREAMS) -> Entry:
    """One event of some stream. The same draw always has the same id, so equal events are duplicates."""
    stream = draw(st.sampled_from(streams))
    at = draw(st.integers(0, 20))
    kind, public, personal = draw(
        st.one_of(_identified(), _tracked(), _linked(), _merged(stream, streams), _taken_back(stream, streams))
    )
    marker = repr((kind.id, public, msg(personal), at)).encode()
    return make_entry(kind, stream, derived_id(stream, marker), at, public, personal, KEY)


def msg(personal: Personal | None) -> dict[str, Any]:
    return {name: getattr(personal, name) for name in personal.__struct_fields__} if personal else {}


def _activity(source: str) -> events.Activity:
    return events.Activity(source=source, resolved_by=b"h" * 16, received_at=0)


@st.composite
def _identified(draw: st.DrawFn) -> tuple[EventType, Public, Personal]:
    traits = draw(st.dictionaries(st.sampled_from(TRAITS), values, min_size=1, max_size=3))
    return events.IDENTIFIED, _activity(draw(st.sampled_from(SOURCES))), events.Identified(traits=traits)


@st.composite
def _tracked(draw: st.DrawFn) -> tuple[EventType, Public, Personal]:
    return events.TRACKED, _activity(draw(st.sampled_from(SOURCES))), events.Tracked(name="Order Completed")


@st.composite
def _linked(draw: st.DrawFn) -> tuple[EventType, Public, Personal]:
    value = draw(st.sampled_from(["a@shop.example", "b@shop.example"]))
    return (
        events.LINKED,
        events.IdentifierLinked(namespace="email", value_hash=value.encode(), cause=b""),
        events.LinkedValue(value=value),
    )


@st.composite
def _merged(draw: st.DrawFn, stream: bytes, streams: list[bytes]) -> tuple[EventType, Public, None]:
    other = draw(st.sampled_from([s for s in streams if s != stream]))
    public = events.CustomersMerged(
        merge_id=derived_id(*sorted((stream, other))), other=other, other_founding_number=streams.index(other), cause=b""
    )
    return events.MERGED, public, None


@st.composite
def _taken_back(draw: st.DrawFn, stream: bytes, streams: list[bytes]) -> tuple[EventType, Public, None]:
    """A merge or a link that is undone, maybe before it is heard of."""
    other = draw(st.sampled_from([s for s in streams if s != stream]))
    merge_id = derived_id(*sorted((stream, other)))
    if draw(st.booleans()):
        return events.SPLIT, events.CustomersSplit(merge_id=merge_id, other=other, cause=b""), None
    return events.UNLINKED, events.IdentifierUnlinked(link_id=merge_id, value_hash=b"a@shop.example", cause=b""), None


def founded(stream: bytes, at: int = 0) -> Entry:
    return make_entry(events.FOUNDED, stream, derived_id(stream), at, events.CustomerFounded(founding_number=STREAMS.index(stream)))


def fold(history: list[Entry], keeping: Keeping = PLAIN) -> State:
    state = State()
    for entry in history:
        evolve(state, entry, entry.public(), entry.personal(KEY), keeping)
    return state
