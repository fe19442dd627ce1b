"""Laws of what a lake is told: at every instant, the newest that was told is what a read as known at that instant gives."""

from collections.abc import Collection, Mapping
from itertools import groupby
from typing import Any, NamedTuple, cast
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from services.profile import sweep as sweeping
from services.profile.choosing import THEN, Chooser
from services.profile.domain.fold import evolve_to
from services.profile.domain.golden import GoldenRecord, golden_record
from services.profile.domain.lineage import members_of
from services.profile.domain.rules import Keeping, Rules, TraitRule, keeping_of
from services.profile.domain.rules_document import SHIPPED_RULES, read, rules_of
from services.profile.domain.state import Held, linked
from services.profile.sweep import Canonical, Link, Opened, Sweep, Told, Traits
from services.profile.tables.history import History
from shared.events import customer as events
from shared.events.catalogue import EventType, Public, make_entry
from shared.ids import derived_id
from shared.log import Record
from shared.privacy import Personal
from tests.properties.histories import KEY

STREAMS = [derived_id(b"stream", bytes([number])) for number in range(4)]
FIRST = TraitRule(rule="first")
FIRST_WINS = Rules(version=2, default=FIRST, traits={}, keeping=keeping_of(FIRST, {}))
VALUES = ["a@shop.example", "b@shop.example"]


class MemoryHistory:
    """Of the history, what is asked of it here: the plain replay of a log that ends at an instant."""

    def __init__(self, records: list[Record], keeping: Keeping = SHIPPED_RULES.keeping) -> None:
        self.records = records
        self.keeping = keeping

    def of(self, keeping: Keeping) -> "MemoryHistory":
        return MemoryHistory(self.records, keeping)

    async def states(self, streams: Collection[bytes], known_at: int) -> dict[bytes, Held]:
        held: dict[bytes, Held] = {}
        for record in self.records:
            if record.entry.stream in streams and record.recorded_at <= known_at:
                state = held.setdefault(record.entry.stream, Held()).state
                evolve_to(record.version, state, record.entry, *record.entry.parts(KEY), self.keeping)
        return held


class MemoryChooser:
    """Other rules, for which other things are kept, from an instant on."""

    def __init__(self, changed_at: int, others: Rules) -> None:
        self.changed_at = changed_at
        self.others = others

    def rules(self, choice: str, known_at: int) -> Rules:
        assert choice == THEN
        return self.others if known_at >= self.changed_at else SHIPPED_RULES

    async def records(self, clusters: Mapping[bytes, dict[bytes, Held]], rules: Rules, by: int) -> dict[bytes, GoldenRecord]:
        return {customer: golden(held, rules) for customer, held in clusters.items()}


def golden(held: Mapping[bytes, Held], rules: Rules) -> GoldenRecord:
    return golden_record({stream: one.state for stream, one in held.items()}, rules)  # what is counted has no window


COUNTED = rules_of(read("""{"computed": {"orders": {"aggregate": "count", "of": "event.name == 'Order Completed'"}}}"""), 3)


class LogMaker:
    """A log as identity would have it written: an edge is told to both of its ends at the same instant."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.links: dict[tuple[bytes, bytes], bytes] = {}
        self.edges: dict[frozenset[bytes], bytes] = {}
        self.versions = dict.fromkeys(STREAMS, 0)

    def add(self, instant: int, stream: bytes, kind: EventType, public: Public, personal: Personal | None = None) -> bytes:
        if not self.versions[stream] and kind is not events.FOUNDED:
            self.add(instant, stream, events.FOUNDED, events.CustomerFounded(founding_number=STREAMS.index(stream)))
        self.versions[stream] += 1
        event_id = derived_id(b"event", len(self.records).to_bytes(4))
        entry = make_entry(kind, stream, event_id, instant, public, personal, KEY)
        self.records.append(Record(0, len(self.records), self.versions[stream], instant, entry))
        return event_id

    def identify(self, instant: int, stream: bytes, traits: dict[str, Any]) -> None:
        public = events.Activity(source="web", resolved_by=b"h", received_at=instant)
        self.add(instant, stream, events.IDENTIFIED, public, events.Identified(traits=traits))

    def order(self, instant: int, stream: bytes, name: str) -> None:
        public = events.Activity(source="web", resolved_by=b"h", received_at=instant)
        self.add(instant, stream, events.TRACKED, public, events.Tracked(name=name))

    def link(self, instant: int, stream: bytes, value: str) -> None:
        place = stream, value.encode()
        if place in self.links:
            public = events.IdentifierUnlinked(link_id=self.links.pop(place), value_hash=value.encode(), cause=b"c")
            self.add(instant, stream, events.UNLINKED, public)
        else:
            linking = events.IdentifierLinked(namespace="email", value_hash=value.encode(), cause=b"c")
            self.links[place] = self.add(instant, stream, events.LINKED, linking, events.LinkedValue(value=value))

    def regroup(self, instant: int, one: bytes, other: bytes) -> None:
        pair = frozenset((one, other))
        if len(pair) == 1:
            return
        merge_id = self.edges.pop(pair, None)
        new_id = derived_id(b"merge", len(self.records).to_bytes(4))
        for stream in (one, other):
            (across,) = pair - {stream}
            if merge_id is not None:
                self.add(instant, stream, events.SPLIT, events.CustomersSplit(merge_id=merge_id, other=across, cause=b"c"))
            else:
                merged = events.CustomersMerged(
                    merge_id=new_id, other=across, other_founding_number=STREAMS.index(across), cause=b"c"
                )
                self.add(instant, stream, events.MERGED, merged)
        if merge_id is None:
            self.edges[pair] = new_id


deeds = st.one_of(
    st.tuples(
        st.just("identify"),
        st.sampled_from(STREAMS),
        st.dictionaries(st.sampled_from("xy"), st.integers(0, 3) | st.none(), min_size=1),
    ),
    st.tuples(st.just("order"), st.sampled_from(STREAMS), st.sampled_from(("Order Completed", "Seen"))),
    st.tuples(st.just("link"), st.sampled_from(STREAMS), st.sampled_from(VALUES)),
    st.tuples(st.just("regroup"), st.sampled_from(STREAMS), st.sampled_from(STREAMS)),
)


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    maker = LogMaker()
    for instant, transaction in enumerate(draw(st.lists(st.lists(deeds, min_size=1, max_size=4), min_size=1, max_size=8)), start=1):
        for name, *arguments in transaction:
            getattr(maker, name)(instant, *arguments)
    return maker.records


class Given(NamedTuple):
    """A log, before which pages another sweep takes over, how many states one keeps, and when other rules come into force."""

    records: list[Record]
    cuts: Collection[int]
    kept: int
    changed_at: int
    others: Rules

    @property
    def instants(self) -> range:
        return range(1, self.records[-1].recorded_at + 1)

    async def told(self) -> list[tuple[int, Told]]:
        """By instant; in pages of an instant or two."""
        told: list[tuple[int, Told]] = []
        history, chooser = cast(History, MemoryHistory(self.records)), cast(Chooser, MemoryChooser(self.changed_at, self.others))
        with patch.object(sweeping, "KEPT_STREAMS", self.kept):
            sweep = Sweep(history, chooser)
            for page, group in groupby(self.records, lambda record: record.recorded_at // 2):
                if page in self.cuts:
                    sweep = Sweep(history, chooser)
                opened = [Opened(record, *record.entry.parts(KEY)) for record in group]
                await sweep.prepare(opened)
                for instant, of_one in groupby(opened, lambda one: one.record.recorded_at):
                    told += [(instant, one) for one in await sweep.advance(list(of_one))]
        return told

    async def customers_at(self, instant: int, of: int) -> dict[bytes, GoldenRecord]:
        """By stream, as plainly replayed to an instant, by the rules of instant `of`."""
        rules = MemoryChooser(self.changed_at, self.others).rules(THEN, of)
        held = await MemoryHistory(self.records, rules.keeping).states(STREAMS, instant)
        return {stream: golden({member: held[member] for member in members_of(stream, held)}, rules) for stream in held}


givens = st.builds(
    Given,
    logs().filter(bool),
    st.sets(st.integers(0, 4)),
    st.integers(0, 3),
    st.integers(0, 9),
    st.sampled_from((FIRST_WINS, COUNTED)),
)


@given(givens)
async def test_the_newest_canonical_is_the_one_that_a_read_of_then_gives(it: Given) -> None:
    told = await it.told()
    for instant in it.instants:
        newest = {one.stream: one.canonical for at, one in told if isinstance(one, Canonical) and at <= instant}
        assert newest == {stream: found.members[0] for stream, found in (await it.customers_at(instant, instant)).items()}


@given(givens)
async def test_a_canonical_is_told_when_it_changes_and_not_again(it: Given) -> None:
    newest: dict[bytes, bytes] = {}
    for _, one in await it.told():
        if isinstance(one, Canonical):
            assert newest.get(one.stream) != one.canonical
            newest[one.stream] = one.canonical


def said(record: GoldenRecord) -> dict[str, Any]:
    """Not since when a trait of no event holds, which no row says: the first event moves it, whether or not it counts."""
    return {name: (trait.value, trait.source, trait.event_id, trait.cut) for name, trait in record.traits.items()}


@given(givens)
async def test_the_newest_traits_are_those_that_a_read_of_then_gives(it: Given) -> None:
    """By the rules of when the row was told: that other rules come into force is no event of a customer."""
    told = await it.told()
    for instant in it.instants:
        newest = {one.record.members[0]: (at, one.record) for at, one in told if isinstance(one, Traits) and at <= instant}
        for expected in (await it.customers_at(instant, instant)).values():
            if expected.members[0] in newest:
                at, found = newest[expected.members[0]]
                by_its_rules = (await it.customers_at(instant, at))[found.members[0]]
                assert (found.members, said(found)) == (by_its_rules.members, said(by_its_rules))
            elif it.others is FIRST_WINS or it.changed_at == 0:
                assert expected.traits == {}


@given(givens)
async def test_the_newest_links_are_those_that_a_read_of_then_gives(it: Given) -> None:
    told = await it.told()
    for instant in it.instants:
        newest = {
            (one.by.record.entry.stream, one.identifier.value_hash): one.unlinked
            for at, one in told
            if isinstance(one, Link) and at <= instant
        }
        held = await MemoryHistory(it.records).states(STREAMS, instant)
        expected = {(stream, value_hash) for stream, one in held.items() for value_hash in linked(one.state)}
        assert {place for place, unlinked in newest.items() if not unlinked} == expected
