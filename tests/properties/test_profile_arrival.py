"""The law of late events: in whatever order the same events came, every answer as of an instant is the same, by what is known now.

What identity concludes is told as it comes about: who is founded, linked and merged by the first event that makes it so, and as having
happened when that event did.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.profile.app import Instant
from shared.errors import NotFound
from shared.events import customer as events
from shared.events.catalogue import Entry, EventType, Public, make_entry
from shared.ids import derived_id
from shared.privacy import Personal
from tests.properties.past_store import Past
from tests.properties.pasts import activity, or_end

STRENGTH = "uvedp"  # identifiers, the strongest first
Sent = tuple[int, int, frozenset[str]]  # its number, when it happened, what it names

named = st.frozensets(st.sampled_from(STRENGTH), min_size=1, max_size=3)
sent = st.lists(st.tuples(st.integers(1, 9), named), min_size=1, max_size=6).map(
    lambda found: [(number, at, names) for number, (at, names) in enumerate(found)]
)


def stream_of(identifier: str) -> bytes:
    return derived_id(b"customer", identifier.encode())


class Arrivals:
    """An event goes to the stream of its strongest identifier; all that it names is one customer's."""

    def __init__(self, arrived: list[Sent]) -> None:
        self.past = Past(snapshot_every=2)
        self._holders: dict[str, bytes] = {}  # the stream that an identifier is linked to
        self._entries: list[Entry] = []
        for one in arrived:
            self._take(*one)
            self.past.log.append(self._entries)
            self._entries = []

    def _take(self, number: int, at: int, names: frozenset[str]) -> None:
        strongest, *others = sorted(names, key=STRENGTH.index)
        stream = stream_of(strongest)
        if stream not in self.past.keys.held:
            self.past.key_of(stream)
            self._add(events.FOUNDED, stream, at, events.CustomerFounded(founding_number=len(self.past.keys.held)))
        for one in [strongest, *others]:
            if (holder := self._holders.setdefault(one, stream)) != stream:
                self._merge(stream, holder, at)
            else:
                public = events.IdentifierLinked(namespace="id", value_hash=one.encode(), cause=b"")
                self._add(events.LINKED, stream, at, public, events.LinkedValue(value=one))
        by = activity("web", number, strongest.encode(), *(one.encode() for one in others))
        self._add(
            events.IDENTIFIED, stream, at, by, events.Identified(traits={"newest": number}), derived_id(b"sent", bytes([number]))
        )

    def _merge(self, one: bytes, other: bytes, at: int) -> None:
        merge_id = derived_id(*sorted((one, other)))
        for stream, end in ((one, other), (other, one)):
            public = events.CustomersMerged(merge_id=merge_id, other=end, other_founding_number=0, cause=b"")
            self._add(events.MERGED, stream, at, public)

    def _add(
        self, kind: EventType, stream: bytes, at: int, public: Public, personal: Personal | None = None, event_id: bytes = b""
    ) -> None:
        made = event_id or derived_id(stream, kind.id.encode(), len(self.past.log.records).to_bytes(2), bytes([len(self._entries)]))
        self._entries.append(make_entry(kind, stream, made, at, public, personal, self.past.key_of(stream) if personal else None))

    async def answer(self, customer: bytes, valid_at: int) -> Any:
        try:
            record = (await self.past.profiles.as_of(customer, Instant(valid_at))).record
        except NotFound as unknown:
            return unknown.reason
        identifiers = {linked.value for linked in record.identifiers.values()}
        return identifiers, record.founded_at, record.last_seen_at, record.traits["newest"].value, set(record.members)


def plain(happened: list[Sent], customer: bytes, valid_at: int) -> Any:
    names = {one for _, _, named in happened for one in named if stream_of(one) == customer}
    while more := {one for _, _, named in happened if named & names for one in named} - names:
        names |= more
    own = sorted((at, number, named) for number, at, named in happened if named & names)
    counted = [one for one in own if one[0] <= valid_at]
    if not counted:
        return "CUSTOMER_UNKNOWN"
    identifiers = {one for _, _, named in counted for one in named}
    members = {stream_of(min(named, key=STRENGTH.index)) for _, _, named in own}
    return identifiers, counted[0][0], counted[-1][0], counted[-1][1], members


@given(st.data(), sent, st.none() | st.integers(0, 10))
async def test_a_late_event_gives_what_it_would_have_given_in_time(
    data: st.DataObject, happened: list[Sent], at: int | None
) -> None:
    valid_at = or_end(at)
    arrivals = Arrivals(data.draw(st.permutations(happened)))
    for customer in {stream_of(min(names, key=STRENGTH.index)) for _, _, names in happened}:
        assert await arrivals.answer(customer, valid_at) == plain(happened, customer, valid_at)
