"""Pasts of several customers for property tests: steps in the order in which our log learnt of them, and when they happened."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from shared.events import customer as events
from shared.events.catalogue import Entry, EventType, Public, make_entry
from shared.identifiers import Identifier, hash_of
from shared.ids import derived_id
from shared.instants import END_OF_TIME
from shared.privacy import Personal
from tests.properties.past_store import PARTITIONS, Past

CUSTOMERS = [derived_id(b"customer", bytes([number])) for number in range(4)]
SOURCES = ["app", "web"]
TRAITS = ["city", "tier"]
LATEST = 30  # instants at which something happens are small, so that many meet

who = st.integers(0, len(CUSTOMERS) - 1)
when = st.integers(1, LATEST)
values = st.one_of(st.none(), st.sampled_from(["Kiel", "Bremen", 1, 2]))
traits = st.dictionaries(st.sampled_from(TRAITS), values, min_size=1)
steps = st.one_of(
    st.tuples(st.just("identify"), who, when, st.sampled_from(SOURCES), traits),
    st.tuples(st.just("identify"), who, when, st.sampled_from(SOURCES), traits),
    st.tuples(st.just("track"), who, when, st.sampled_from(SOURCES), st.sampled_from(["", "a", "b", "c"])),
    st.tuples(st.just("link"), who, when, st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("unlink"), st.integers(0, 9), when),
    st.tuples(st.just("merge"), who, who, when),
    st.tuples(st.just("merge"), who, who, when),
    st.tuples(st.just("split"), st.integers(0, 9), when),
    st.tuples(st.just("restrict"), who, when),
    st.tuples(st.just("erase"), who, when),
    st.tuples(st.just("read"), who, st.integers(0, LATEST), st.integers(0, 100)),
)
pasts = st.lists(st.tuples(st.integers(0, 3), steps), max_size=30)  # the first is 0 where a transaction ends
instants = st.tuples(st.none() | st.integers(0, LATEST), st.none() | st.integers(0, 100))


class Teller:
    """Plays steps into a past: founds who is new, and lets whoever is erased alone afterwards, as identity would."""

    def __init__(self, past: Past, customers: Sequence[bytes] = CUSTOMERS) -> None:
        self.past = past
        self._customers = customers
        self._pending: list[Entry] = []
        self._number = 0
        self._founded: set[int] = set()
        self.links: list[tuple[int, bytes, bytes]] = []
        self._merges: list[tuple[bytes, int, int]] = []
        self._gone: set[int] = set()

    def play(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("identify", one, at, source, sent):
                named = activity(source, self._number, *own(one))
                self._event(one, at, events.IDENTIFIED, named, events.Identified(traits=sent))
            case ("track", one, at, source, value):
                self._track(one, at, source, *own(one), *([self.hash(value)] if value else []))
            case ("link", one, at, value):
                value_hash = self.hash(value)
                self._track(one, at, "web", *own(one), value_hash)
                public = events.IdentifierLinked(namespace="email", value_hash=value_hash, cause=b"")
                link_id = self._event(one, at, events.LINKED, public, events.LinkedValue(value=f"{value}@shop.example"))
                self.links.append((one, link_id, value_hash))
            case ("unlink", index, at) if self.links:
                one, link_id, value_hash = self.links[index % len(self.links)]
                unlinked = events.IdentifierUnlinked(link_id=link_id, value_hash=value_hash, cause=b"")
                self._event(one, at, events.UNLINKED, unlinked)
            case ("merge", one, other, at) if one != other:
                self._merge(one, other, at)
            case ("split", index, at) if self._merges:
                merge_id, one, other = self._merges[index % len(self._merges)]
                for end, far in ((one, other), (other, one)):
                    self._event(
                        end, at, events.SPLIT, events.CustomersSplit(merge_id=merge_id, other=self._customers[far], cause=b"")
                    )
            case ("restrict", one, at):
                self._event(one, at, events.RESTRICTED, events.CustomerRestricted(erasure_id=b"e"))
            case ("erase", one, at):
                self._erase(one, at)

    def commit(self) -> None:
        if self._pending:
            self.past.log.append(self._pending)
            self._pending = []

    def known_at(self, percent: int) -> int:
        """Some instant between before the first and after the last recording."""
        return 1_000 + (self.past.log.now + 10 - 1_000) * percent // 100

    def _merge(self, one: int, other: int, at: int) -> None:
        if {one, other} & self._gone:
            return
        self._number += 1
        merge_id = derived_id(b"merge", self._number.to_bytes(4))
        self._merges.append((merge_id, one, other))
        self._found(one, at)
        self._found(other, at)
        for end, far in ((one, other), (other, one)):
            public = events.CustomersMerged(merge_id=merge_id, other=self._customers[far], other_founding_number=far, cause=b"")
            self._event(end, at, events.MERGED, public)

    def _erase(self, one: int, at: int) -> None:
        if one not in self._gone and one in self._founded:
            hashes = tuple(sorted({value_hash for linked, _, value_hash in self.links if linked == one}))
            erased = events.CustomerErased(erasure_id=b"e", policy="refuse", identifier_hashes=hashes)
            self._event(one, at, events.ERASED, erased)
            self._gone.add(one)
            self.commit()
            self.past.destroy_key(self._customers[one])

    def _event(self, one: int, at: int, kind: EventType, public: Public, personal: Personal | None = None) -> bytes:
        self._number += 1
        event_id = derived_id(b"event", self._number.to_bytes(4))
        if one not in self._gone:
            self._found(one, at)
            key = self.past.key_of(self._customers[one]) if personal else None
            self._pending.append(make_entry(kind, self._customers[one], event_id, at, public, personal, key))
        return event_id

    def _found(self, one: int, at: int) -> None:
        if one not in self._founded:
            self._founded.add(one)
            self.past.key_of(self._customers[one])
            link = events.IdentifierLinked(namespace="user_id", value_hash=b"u%d" % one, cause=b"")
            public = events.CustomerFounded(founding_number=one)
            self._pending.append(make_entry(events.FOUNDED, self._customers[one], derived_id(b"founded", bytes([one])), at, public))
            self._event(one, at, events.LINKED, link, events.LinkedValue(value=f"user-{one}"))
            self._track(one, at, "web", *own(one))

    def _track(self, one: int, at: int, source: str, *named: bytes) -> None:
        self._event(one, at, events.TRACKED, activity(source, self._number, *named), events.Tracked(name="Order Completed"))

    def hash(self, value: str) -> bytes:
        return hash_of(Identifier("email", f"{value}@shop.example"), self.past.keys.lookup_key)


def own(one: int) -> list[bytes]:
    """Hash of the identifier that every event of a customer names."""
    return [b"u%d" % one]


def activity(source: str, received_at: int, resolved_by: bytes = b"h" * 16, *also_named: bytes) -> events.Activity:
    return events.Activity(source=source, resolved_by=resolved_by, also_named=also_named, received_at=received_at)


def or_end(instant: int | None) -> int:
    return END_OF_TIME if instant is None else instant


assert PARTITIONS > 1, "an instant has to hold across partitions"
