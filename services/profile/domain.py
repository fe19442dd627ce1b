"""A profile is a pure function of the customer's history: the same code for now and for any past instant.

The state of a stream keeps, per trait and source, the candidate that holds latest by valid time; states of merged customers
are combined when they are read, so a merge moves nothing. Both are joins of a semilattice: order and duplication of the
events change nothing, and a late event lands where it belongs.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from shared.events import customer as events
from shared.events.catalogue import Entry
from shared.privacy import Personal, Redacted

# Raise it when `evolve` or State changes: states kept under another version are folded anew from the log.
FOLD_VERSION = 2

MAX_TRAITS = 1_000  # of a customer; a sender that invents names must not make a profile that nobody can read
MAX_TRAIT_BYTES = 4_096

_canonical = msgspec.msgpack.Encoder(order="deterministic")


class Candidate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value that a source sent for a trait; None says that the source removed it."""

    value: Any
    occurred_at: int
    received_at: int
    event_id: bytes

    def __repr__(self) -> str:
        return "<Candidate sealed>"

    @property
    def rank(self) -> tuple[int, int, bytes]:
        """The larger is the later: by when it happened; at the same instant, by when it came; the id makes it total."""
        return self.occurred_at, self.received_at, self.event_id


class LinkedIdentifier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    value_hash: bytes
    namespace: str
    value: str | None  # None when the key that sealed it is gone

    def __repr__(self) -> str:
        return f"<LinkedIdentifier {self.namespace} sealed>"


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one stream amounts to. Traits are by name, then by source; edges lead to other customers of the cluster.

    What was linked or merged is never taken out: `cut` has what was taken back, so that the order of events doesn't matter.
    """

    founding_number: int = -1
    founded_at: int = 0
    last_seen_at: int = 0
    traits: dict[str, dict[str, Candidate]] = {}
    identifiers: dict[bytes, LinkedIdentifier] = {}  # by link id
    edges: dict[bytes, bytes] = {}  # merge id: the other customer
    cut: set[bytes] = set()  # link ids and merge ids
    restricted: bool = False  # an erasure waits for a legal hold
    erased: bool = False

    def __repr__(self) -> str:
        return f"<State {len(self.traits)} traits sealed>"


class Held(msgspec.Struct):
    """A stream's state, its version, and the position of its newest event."""

    state: State = msgspec.field(default_factory=State)
    version: int = 0
    pos: int = -1


def evolve(state: State, entry: Entry, public: Any, personal: Personal | Redacted | None) -> None:
    """Adds one event to the state, in place. Once erased, nothing personal is taken in any more, in whatever order."""
    if isinstance(public, events.Activity):
        if entry.occurred_at > state.last_seen_at:  # noqa: PLR1730 - a tenth of what one event costs, once for each
            state.last_seen_at = entry.occurred_at
        if isinstance(personal, events.Identified) and not state.erased:
            _take_traits(state, entry, public, personal)
    elif isinstance(public, events.CustomerFounded):
        state.founding_number = public.founding_number
        state.founded_at = entry.occurred_at
    elif isinstance(public, events.IdentifierLinked):
        value = (
            (personal.value or None) if isinstance(personal, events.LinkedValue) else None
        )  # empty: it couldn't be said any more
        if not state.erased:
            state.identifiers[entry.event_id] = LinkedIdentifier(public.value_hash, public.namespace, value)
    elif isinstance(public, events.IdentifierUnlinked):
        state.cut.add(public.link_id)
    elif isinstance(public, events.CustomersMerged):
        _join_edge(state.edges, public.merge_id, public.other)
    elif isinstance(public, events.CustomersSplit):
        state.cut.add(public.merge_id)
    elif isinstance(public, events.CustomerRestricted):
        state.restricted = True
    elif isinstance(public, events.CustomerErased):
        close(state)


def _take_traits(state: State, entry: Entry, public: events.Activity, personal: events.Identified) -> None:
    traits = state.traits
    for name, value in personal.traits.items():
        if not _fits(value):
            continue
        candidate = Candidate(value, entry.occurred_at, public.received_at, entry.event_id)
        if (candidates := traits.get(name)) is None:
            traits[name] = {public.source: candidate}
        else:
            _offer(candidates, public.source, candidate)
    if len(traits) > MAX_TRAITS:
        keep_within_limits(traits)


def close(state: State) -> None:
    """Nothing personal is left, and none comes any more."""
    state.erased, state.traits, state.identifiers = True, {}, {}


def fork(state: State) -> State:
    """A copy to evolve, while readers go on with the original."""
    return msgspec.structs.replace(
        state,
        traits={name: dict(candidates) for name, candidates in state.traits.items()},
        identifiers=dict(state.identifiers),
        edges=dict(state.edges),
        cut=set(state.cut),
    )


def happened_by(entry: Entry, valid_at: int) -> bool:
    """Whether an event counts at a valid time.

    That two customers are one person was always so, whenever we learned it: only what is known limits founding and merges.
    """
    return is_timeless(entry) or entry.occurred_at <= valid_at


def is_timeless(entry: Entry) -> bool:
    return entry.type_id in events.TIMELESS_IDS


def keep_within_limits(traits: dict[str, dict[str, Candidate]]) -> None:
    """Of too many traits those stay whose names have the smallest hash: a choice that no order of events can change."""
    if len(traits) > MAX_TRAITS:
        names = sorted(traits, key=lambda name: hashlib.sha256(name.encode()).digest())
        for name in names[MAX_TRAITS:]:
            del traits[name]


def _fits(value: Any) -> bool:
    """A larger value stays in the event, and in the timeline; the profile doesn't carry it."""
    if isinstance(value, str):
        return len(value) <= MAX_TRAIT_BYTES
    return not isinstance(value, dict | list) or len(_canonical.encode(value)) <= MAX_TRAIT_BYTES


def _offer(candidates: dict[str, Candidate], source: str, candidate: Candidate) -> None:
    held = candidates.get(source)
    # Nearly always the first clock decides.
    if held is None or candidate.occurred_at > held.occurred_at or candidate.rank > held.rank:
        candidates[source] = candidate


def _join_edge(edges: dict[bytes, bytes], merge_id: bytes, other: bytes) -> None:
    """Of the two ends of a merge the same one stays, whichever comes first."""
    edges[merge_id] = max(other, edges.get(merge_id, b""))


class GoldenTrait(msgspec.Struct, frozen=True):
    value: Any
    source: str
    occurred_at: int
    event_id: bytes

    def __repr__(self) -> str:
        return "<GoldenTrait sealed>"


class GoldenRecord(msgspec.Struct, frozen=True):
    """The chosen traits of a cluster; members are streams, oldest first, the first of them canonical."""

    members: list[bytes]
    traits: dict[str, GoldenTrait]
    identifiers: dict[bytes, LinkedIdentifier]
    founded_at: int
    last_seen_at: int
    state_hash: str
    restricted: bool = False

    def __repr__(self) -> str:
        return f"<GoldenRecord of {len(self.members)} members sealed>"


def combine(states: dict[bytes, State]) -> State:
    """The state that one stream with all their events would have."""
    whole = State(founding_number=min(state.founding_number for state in states.values()))
    oldest = min(states.values(), key=lambda state: state.founding_number)
    whole.founded_at = oldest.founded_at
    for state in states.values():
        whole.last_seen_at = max(whole.last_seen_at, state.last_seen_at)
        whole.identifiers |= state.identifiers
        for merge_id, other in state.edges.items():
            _join_edge(whole.edges, merge_id, other)
        whole.cut |= state.cut
        whole.restricted |= state.restricted
        whole.erased |= state.erased
        for name, candidates in state.traits.items():
            for source, candidate in candidates.items():
                _offer(whole.traits.setdefault(name, {}), source, candidate)
    keep_within_limits(whole.traits)
    return whole


def golden_record(states: dict[bytes, State]) -> GoldenRecord:
    """Survivorship: the most recent value wins, by when it happened."""
    whole = combine(states)
    members = sorted(states, key=lambda stream: (states[stream].founding_number, stream))
    return GoldenRecord(
        members=members,
        traits={name: trait for name, held in sorted(whole.traits.items()) if (trait := _survivor(held)) is not None},
        identifiers=linked(whole),
        founded_at=whole.founded_at,
        last_seen_at=whole.last_seen_at,
        state_hash=state_hash(whole),
        restricted=whole.restricted,
    )


def linked(state: State) -> dict[bytes, LinkedIdentifier]:
    """By identifier hash."""
    return {found.value_hash: found for link_id, found in sorted(state.identifiers.items()) if link_id not in state.cut}


def _survivor(candidates: dict[str, Candidate]) -> GoldenTrait | None:
    source, winner = max(candidates.items(), key=lambda item: (item[1].rank, item[0]))
    if winner.value is None:
        return None
    return GoldenTrait(winner.value, source, winner.occurred_at, winner.event_id)


def state_hash(state: State) -> str:
    """Hexadecimal SHA-256 over the state in an order of its own: equal states have equal hashes."""
    identifiers, edges = sorted(state.identifiers.items()), sorted(state.edges.items())
    clocks = (state.founding_number, state.founded_at, state.last_seen_at)
    content = (*clocks, state.traits, identifiers, edges, state.cut, state.restricted, state.erased)
    return hashlib.sha256(_canonical.encode(content)).hexdigest()


def reachable(states: Iterable[State]) -> set[bytes]:
    """Streams that edges lead to."""
    return {other for state in states for merge_id, other in state.edges.items() if merge_id not in state.cut}
