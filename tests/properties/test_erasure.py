"""Laws of erasure: however it interleaves with other events and deliveries, nothing personal about who was erased is left.

Identity, the vault, the hand-over and profile in one small model: the production decisions and folds, the I/O taken away. What an
erasure does to the graph is a model of its own (`graph_store`).
"""

import random as randomness
from dataclasses import dataclass, field
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain.familiar import Familiar
from services.identity.domain.sighting import Named, Sighting, Suppression, admit
from services.identity.graph.conclude import Linked, Unlinked
from services.identity.graph.facts import Node
from services.identity.graph.rules import DEFAULT_RULES
from services.profile.domain.fold import evolve as fold
from services.profile.domain.rules import PLAIN
from services.profile.domain.state import State
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.erasure import Policy
from shared.identifiers import hash_of, normalise
from shared.privacy import Personal
from shared.vault import DataKey
from tests.properties.graph_store import Store
from tests.properties.histories import STREAMS, entries, founded
from tests.properties.histories import fold as fold_all

NAMES = ["user_id:u1", "user_id:u2", "email:a@x.example", "email:b@x.example", "anonymous_id:d1", "anonymous_id:d2"]
HASH_KEY = b"k" * 32


@dataclass
class Model:
    """`handed` is CUSTOMER, `applied` how much of it profile has taken; a stream that ever had a key never gets another."""

    graph: Store = field(default_factory=lambda: Store(DEFAULT_RULES))
    familiar: Familiar = field(default_factory=Familiar)
    suppressions: dict[bytes, Suppression] = field(default_factory=dict)
    link_ids: dict[Node, bytes] = field(default_factory=dict)
    keys: dict[bytes, DataKey] = field(default_factory=dict)
    ever_keyed: set[bytes] = field(default_factory=set)
    doomed: set[bytes] = field(default_factory=set)
    handed: list[Entry] = field(default_factory=list)
    applied: int = 0
    states: dict[bytes, State] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    refused: int = 0
    taken: int = 0
    ids: "count[int]" = field(default_factory=lambda: count(1))

    def new_id(self) -> bytes:
        return next(self.ids).to_bytes(16)

    def send(self, names: set[str], at: int) -> None:
        parsed = sorted((normalise(*name.split(":", 1)) for name in names), key=lambda i: (DEFAULT_RULES.rank(i.namespace), i))
        seen = Sighting(self.new_id(), Named.of([(hash_of(i, HASH_KEY), i) for i in parsed]), at)
        familiar = self.familiar.customers_of({seen.event_id: seen.seen()})
        unsure = set() if familiar else {value_hash for value_hash, _ in seen.identifiers}
        looked_up = {value_hash: found for value_hash, found in self.suppressions.items() if value_hash in unsure}
        sighting = admit(looked_up, seen, DEFAULT_RULES)
        assert sighting == admit(self.suppressions, seen, DEFAULT_RULES), "what is familiar was let in without a look"
        if isinstance(sighting, Suppression):
            self.refused += 1
            return
        self.taken += 1
        for conclusion in self.graph.take([sighting.seen()]):
            if isinstance(conclusion, Linked):
                stream, value_hash = conclusion.customer, conclusion.node.value_hash
                public = events.IdentifierLinked(namespace=conclusion.node.namespace, value_hash=value_hash, cause=b"")
                value = events.LinkedValue(value="canary")
                self.link_ids[conclusion.node] = self.new_id()
                self._hand_over(
                    make_entry(events.LINKED, stream, self.link_ids[conclusion.node], at, public, value, self._key(stream))
                )
            elif isinstance(conclusion, Unlinked):
                link_id, value_hash = self.link_ids.pop(conclusion.node), conclusion.node.value_hash
                back = events.IdentifierUnlinked(link_id=link_id, value_hash=value_hash, cause=b"")
                self._hand_over(make_entry(events.UNLINKED, conclusion.customer, self.new_id(), at, back))
        customer = self.graph.whole.known.own[sighting.seen().nodes[0]]
        if unsure:
            self.familiar.remember({sighting.seen().nodes: (sighting.seen().evidence, customer)}, looked_up)
        activity = events.Activity(source="web", resolved_by=b"", received_at=at)
        traits = events.Identified(traits={"name": "canary"})
        self._hand_over(make_entry(events.IDENTIFIED, customer, seen.event_id, at, activity, traits, self._key(customer)))

    def erase(self, name: str, policy: Policy, at: int) -> None:
        identifier = normalise(*name.split(":", 1))
        members = self.graph.members(Node(identifier.namespace, hash_of(identifier, HASH_KEY)))
        linked = self.graph.whole.known.links.items()
        gone = {member: [node.value_hash for node, customer in linked if customer == member] for member in members}
        for node in self.graph.forget(members):
            self.suppressions[node.value_hash] = Suppression(b"", policy, at)
        self.familiar.clear()
        self.doomed |= members
        for member in members:
            public = events.CustomerErased(erasure_id=b"", policy=policy, identifier_hashes=tuple(gone[member]))
            self._hand_over(make_entry(events.ERASED, member, self.new_id(), at, public))

    def destroy(self) -> None:
        """The keys of all that is doomed; at any time after the erasure has begun."""
        for stream in self.doomed:
            self.keys.pop(stream, None)

    def deliver(self, amount: int) -> None:
        for entry in self.handed[self.applied : self.applied + amount]:
            public = entry.public()
            state = self.states.setdefault(entry.stream, State())
            fold(state, entry, public, entry.personal(self.keys.get(entry.stream)), PLAIN)
            if isinstance(public, events.IdentifierLinked):
                self.links[public.value_hash] = entry.stream
            elif isinstance(public, events.IdentifierUnlinked):
                if self.links.get(public.value_hash) == entry.stream:
                    del self.links[public.value_hash]
            elif isinstance(public, events.CustomerErased):
                for value_hash in public.identifier_hashes:
                    if self.links.get(value_hash) == entry.stream:
                        del self.links[value_hash]
        self.applied = min(len(self.handed), self.applied + amount)

    def _key(self, stream: bytes) -> DataKey:
        if stream not in self.ever_keyed:
            self.ever_keyed.add(stream)
            self.keys[stream] = DataKey(stream * 2, randomness.Random(len(self.ever_keyed)).randbytes)
        return self.keys[stream]  # fails when an erased stream asks for one

    def _hand_over(self, entry: Entry) -> None:
        assert entry.stream not in self.doomed or entry.type_id == events.ERASED.id, "an event behind the last one"
        self.handed.append(entry)


steps = st.one_of(
    st.tuples(st.just("send"), st.sets(st.sampled_from(NAMES), min_size=1, max_size=3), st.integers(-3, 0)),
    st.tuples(st.just("erase"), st.sampled_from(NAMES), st.sampled_from(["refuse", "start_clean"])),
    st.tuples(st.just("destroy"), st.none(), st.none()),
    st.tuples(st.just("deliver"), st.integers(1, 5), st.none()),
)


@given(st.lists(steps, max_size=40))
def test_any_interleaving_leaves_nothing_readable_of_who_was_erased(script: list[tuple[str, object, object]]) -> None:
    model = Model()
    for now, (what, one, other) in enumerate(script):
        match what:
            case "send":
                model.send(one, now + other)  # type: ignore[arg-type, operator]
            case "erase":
                model.erase(one, other, now)  # type: ignore[arg-type]
            case "destroy":
                model.destroy()
            case "deliver":
                model.deliver(one)  # type: ignore[arg-type]
    model.destroy()
    model.deliver(len(model.handed))
    for entry in model.handed:
        readable = isinstance(entry.personal(model.keys.get(entry.stream)), Personal)
        assert readable == (entry.stream not in model.doomed and entry.type_id in (events.LINKED.id, events.IDENTIFIED.id))
    for stream in model.doomed:
        state = model.states[stream]
        assert (state.erased, state.traits, state.identifiers) == (True, {}, {})
    assert model.doomed.isdisjoint(model.links.values())
    assert model.doomed.isdisjoint(model.graph.whole.known.links.values())
    assert model.links == {node.value_hash: customer for node, customer in model.graph.whole.known.links.items()}
    assert model.refused + model.taken == sum(what == "send" for what, _, _ in script)


@given(st.lists(entries(STREAMS[:2]), max_size=10), st.randoms())
def test_an_erased_state_is_the_same_in_any_order_and_holds_nothing(history: list[Entry], random: randomness.Random) -> None:
    public = events.CustomerErased(erasure_id=b"", policy="refuse", identifier_hashes=())
    hers = [entry for entry in history if entry.stream == STREAMS[0]]
    whole = [founded(STREAMS[0]), *hers, make_entry(events.ERASED, STREAMS[0], b"e" * 16, 30, public)]
    shuffled = list(whole)
    random.shuffle(shuffled)
    state = fold_all(shuffled)
    assert (state.erased, state.traits, state.identifiers) == (True, {}, {})
    assert state == fold_all(whole)
    assert state.edges == fold_all(hers).edges


@given(st.lists(st.sets(st.sampled_from(NAMES), min_size=1, max_size=3), max_size=10), st.sampled_from(NAMES))
def test_a_refused_person_is_never_found_by_what_named_her(before: list[set[str]], name: str) -> None:
    """By none of her names; but a device may name whoever uses it next, with a name of his own."""
    model = Model()
    for at, names in enumerate(before):
        model.send(names, at)
    model.erase(name, "refuse", len(before))
    suppressed = dict(model.suppressions)
    for at, names in enumerate(before, len(before)):
        model.send(names, at)
    assert suppressed.keys().isdisjoint(node.value_hash for node in model.graph.whole.known.links)


ERASED_AT = 100
sent = st.tuples(st.sets(st.sampled_from(NAMES), min_size=1, max_size=3), st.integers(ERASED_AT - 2, ERASED_AT + 2))


@given(st.lists(st.sets(st.sampled_from(NAMES), min_size=1, max_size=3), max_size=5), st.lists(sent, max_size=15))
def test_who_starts_clean_has_no_past_however_often_she_came_back_meanwhile(
    before: list[set[str]], after: list[tuple[set[str], int]]
) -> None:
    """In any order, by any number of names: what says that it happened before is refused, what happened since is taken."""
    model = Model()
    for at, names in enumerate([*before, {"user_id:u1"}]):
        model.send(names, at)
    model.erase("user_id:u1", "start_clean", ERASED_AT)
    hers = {name for name in NAMES if hash_of(normalise(*name.split(":", 1)), HASH_KEY) in model.suppressions}
    for names, at in after:
        refused, taken = model.refused, model.taken
        model.send(names, at)
        if at > ERASED_AT or not names & hers:
            assert model.taken == taken + 1
        elif names <= hers or any(not name.startswith("anonymous_id:") for name in names & hers):
            assert model.refused == refused + 1
