"""What one stream of events amounts to.

Per trait and source it keeps the candidate that holds latest by valid time, and of the traits whose rule needs more all that was
said. Joining states is a semilattice: order and duplication change nothing.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from services.profile.domain.computed import occurrences
from services.profile.domain.computed.occurrences import Kept
from services.profile.domain.ranked import Ranked
from services.profile.domain.rules import Keeping, fold_digest
from services.profile.domain.said import Rank, Said, cut_middle, keep, sort
from shared.ids import partition_of
from shared.instants import END_OF_TIME

V = TypeVar("V")

MAX_TRAITS = 1_000  # of a profile; a sender that invents names must not make one that nobody can read
MAX_TOLD = 2_000  # traits of which a state knows anything: as many may have been removed as there are

MAX_NAMED = 10_000  # identifiers of a stream: who names ever new ones must not make a state that nobody can read

_canonical = msgspec.msgpack.Encoder(order="deterministic")


class Candidate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The value that a source sent last for a trait."""

    value: Any
    occurred_at: int
    received_at: int
    event_id: bytes

    def __repr__(self) -> str:
        return "<Candidate sealed>"

    @property
    def rank(self) -> Rank:
        """The larger is the later: by when it happened; at the same instant, by when it came; the id makes it total."""
        return self.occurred_at, self.received_at, self.event_id


class LinkedIdentifier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    value_hash: bytes
    namespace: str
    value: str | None  # None when the key that sealed it is gone

    def __repr__(self) -> str:
        return f"<LinkedIdentifier {self.namespace} sealed>"


class State(msgspec.Struct, kw_only=True, omit_defaults=True, dict=True):
    """What one stream amounts to. Traits are by name, then by source; edges lead to other customers of the cluster.

    What was linked or merged is never taken out: `cut` has what was taken back, so that the order of events doesn't matter.
    Of what is full, `__dict__` has the order of its keys while events are added; it is neither kept, copied nor compared.
    """

    through: int = 0  # up to which version of the stream all are in it. It tells in which order events came, so no hash has it
    beyond: set[int] = set()  # versions after that which are in it too: where some were left out, and only while it is read
    founding_number: int = -1
    founded_at: int = 0  # of the event that came first
    first_seen_at: int = END_OF_TIME
    last_seen_at: int = 0
    traits: dict[str, dict[str, Candidate]] = {}
    assertions: dict[str, dict[bytes, Said]] = {}  # by trait, then by event id: of the traits whose rule needs all
    overfull: set[str] = set()  # of those, where not all could be kept
    removals: dict[str, Rank] = {}  # by trait: the latest that any source sent
    too_large: dict[str, Rank] = {}  # by trait: the latest value that is larger than a profile carries
    left_out_for: bytes = b""  # when names of traits were left out for want of room: digest of those that stay before others
    computed: dict[str, Kept] = {}  # by computed trait: of the events that count
    identifiers: dict[bytes, LinkedIdentifier] = {}  # by link id
    named: dict[bytes, int] = {}  # by identifier hash: when the earliest event happened that names it, whosever it is
    edges: dict[bytes, bytes] = {}  # merge id: the other customer
    cut: set[bytes] = set()  # link ids and merge ids
    likely: set[bytes] = set()  # of these, those that nothing but a match speaks for
    parted: set[bytes] = set()  # hashes of identifiers that turned out to be shared while they were this customer's
    restricted: bool = False  # an erasure waits for a legal hold
    erased: bool = False

    def __repr__(self) -> str:
        return f"<State {len(self.traits)} traits sealed>"


class Held(msgspec.Struct):
    """A stream's state, its version, and the position of its newest event. `sealed_bytes`: of the state, where it was opened or sealed."""

    state: State = msgspec.field(default_factory=State)
    version: int = 0
    pos: int = -1
    sealed_bytes: int = 0


def close(state: State) -> None:
    """Nothing personal is left, and none comes any more."""
    state.erased, state.traits, state.assertions, state.overfull, state.removals = True, {}, {}, set(), {}
    state.identifiers, state.computed, state.parted, state.left_out_for, state.too_large = {}, {}, set(), b"", {}
    state.__dict__.clear()


def fork(state: State) -> State:
    """A copy to evolve, while readers go on with the original."""
    return msgspec.structs.replace(
        state,
        beyond=set(state.beyond),
        traits={name: dict(candidates) for name, candidates in state.traits.items()},
        assertions={name: dict(kept) for name, kept in state.assertions.items()},
        overfull=set(state.overfull),
        removals=dict(state.removals),
        too_large=dict(state.too_large),
        computed={name: occurrences.fork(kept) for name, kept in state.computed.items()},
        identifiers=dict(state.identifiers),
        named=dict(state.named),
        edges=dict(state.edges),
        cut=set(state.cut),
        likely=set(state.likely),
        parted=set(state.parted),
    )


def admits(state: State, version: int) -> bool:
    """Notes that this version of the stream is in the state; false when it was."""
    if version == state.through + 1 and not state.beyond:  # nearly always
        state.through = version
        return True
    if version <= state.through or version in state.beyond:
        return False
    state.beyond.add(version)
    while state.through + 1 in state.beyond:
        state.through += 1
        state.beyond.remove(state.through)
    return True


def keep_within_limits(state: State, keeping: Keeping, told: Iterable[str] | None = None) -> None:
    """Of too many traits those stay that the rules name, and of others those whose names have the smallest hash: a choice that no
    order of events can change. `told`: since the last time, only these may have come in."""
    all_held: tuple[dict[str, Any], ...] = (state.traits, state.assertions, state.removals, state.too_large)
    if sum(map(len, all_held)) <= MAX_TOLD:
        return
    ranked: Ranked[str] | None = state.__dict__.get("traits") if told is not None else None
    if ranked is None:
        names = set[str]().union(*all_held)
        if len(names) <= MAX_TOLD:
            return
        state.__dict__["traits"] = ranked = Ranked(names, ranking(keeping.first))
    for name in told or ():
        if any(name in held for held in all_held):
            ranked.add(name)
    for name in ranked.beyond(MAX_TOLD):
        state.left_out_for = keeping.digest_of_first
        for held in all_held:
            held.pop(name, None)
        state.overfull.discard(name)


def is_kept_for(state: State, keeping: Keeping) -> bool:
    """Whether a fold with `keeping` gives this very state, which has the `fold_digest` of that."""
    return state.left_out_for in (b"", keeping.digest_of_first)


def folds_alike(states: Iterable[State], *keepings: Keeping) -> bool:
    """Whether states that are of one of them are of each."""
    one = keepings[0]
    return all(one == other for other in keepings) or (
        len({fold_digest(other) for other in keepings}) == 1
        and all(is_kept_for(state, other) for state in states for other in keepings)
    )


def ranking(first: Collection[str]) -> Callable[[str], bytes]:
    """Of names of traits: the smaller stays."""
    return lambda name: b"" if name in first else _rank_of_name(name)


def _rank_of_name(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def offer(candidates: dict[str, Candidate], source: str, candidate: Candidate) -> None:
    held = candidates.get(source)
    # Nearly always the first clock decides.
    if held is None or candidate.occurred_at > held.occurred_at or candidate.rank > held.rank:
        candidates[source] = candidate


def remove(removals: dict[str, Rank], name: str, rank: Rank) -> None:
    """Whatever was said of the trait before is out. (Or: is known to be before one that is too large.)"""
    removals[name] = max(rank, removals.get(name, rank))


def assert_value(state: State, name: str, event_id: bytes, said: Said) -> None:
    if keep(state.assertions.setdefault(name, {}), event_id, said):
        state.overfull.add(name)


def join_assertions(state: State, other: State) -> None:
    """Adds what the other's rules kept."""
    state.overfull |= other.overfull
    for name, kept in other.assertions.items():
        if name not in state.assertions:
            state.assertions[name] = dict(kept)
            continue
        mine = state.assertions[name]
        mine |= kept
        sort(mine)
        if cut_middle(mine):
            state.overfull.add(name)


def see_named(state: State, value_hash: bytes, occurred_at: int) -> None:
    """An event that happened then names an identifier. Of too many the smallest hashes stay: a choice that no order of events can change."""
    named = state.named
    if occurred_at < named.get(value_hash, END_OF_TIME):
        named[value_hash] = occurred_at
        if len(named) > MAX_NAMED:
            _make_room(state, value_hash)


def _rank_of_hash(value_hash: bytes) -> bytes:
    return value_hash


def _make_room(state: State, newest: bytes) -> None:
    ranked: Ranked[bytes] | None = state.__dict__.get("named")
    if ranked is None:
        state.__dict__["named"] = ranked = Ranked(state.named, _rank_of_hash)
    ranked.add(newest)
    for value_hash in ranked.beyond(MAX_NAMED):
        del state.named[value_hash]


def name_within_limits(state: State) -> None:
    """As if they had been named one by one."""
    for value_hash in sorted(state.named)[MAX_NAMED:]:
        del state.named[value_hash]


def names_all(state: State) -> bool:
    """Whether nothing that an event names had to be left out."""
    return len(state.named) < MAX_NAMED


def join_edge(edges: dict[bytes, bytes], merge_id: bytes, other: bytes) -> None:
    """Of the two ends of a merge the same one stays, whichever comes first."""
    edges[merge_id] = max(other, edges.get(merge_id, b""))


def linked(state: State) -> dict[bytes, LinkedIdentifier]:
    """By identifier hash."""
    return {found.value_hash: found for link_id, found in _in_order(state.identifiers) if link_id not in state.cut}


def certainly_linked(state: State) -> set[bytes]:
    """Hashes of identifiers that more than a match speaks for."""
    less = state.cut | state.likely
    return {found.value_hash for link_id, found in state.identifiers.items() if link_id not in less}


def _in_order(content: Mapping[bytes, V]) -> list[tuple[bytes, V]]:
    """By key. (Sorting pairs compares each twice, which of 10,000 takes three times as long.)"""
    return [(key, content[key]) for key in sorted(content)]


def state_hash(state: State) -> str:
    """Hexadecimal SHA-256 over the state in an order of its own: equal states have equal hashes."""
    identifiers, edges = _in_order(state.identifiers), _in_order(state.edges)
    clocks = (state.founding_number, state.founded_at, state.first_seen_at, state.last_seen_at)
    kept = {name: _in_order(kept) for name, kept in state.assertions.items()}
    traits = (state.traits, kept, state.overfull, state.removals, state.too_large, state.left_out_for)
    graph = (identifiers, _in_order(state.named), edges, state.cut, state.likely, state.parted)
    content = (*clocks, *traits, state.computed, *graph, state.restricted, state.erased)
    return hashlib.sha256(_canonical.encode(content)).hexdigest()


def reachable(states: Iterable[State]) -> set[bytes]:
    """Streams that edges lead to."""
    return {other for state in states for merge_id, other in state.edges.items() if merge_id not in state.cut}


def certainly_reachable(state: State) -> set[bytes]:
    """Streams that edges lead to which more than a match speaks for."""
    return {other for merge_id, other in state.edges.items() if merge_id not in state.cut and merge_id not in state.likely}


def newest_positions(held: Mapping[bytes, Held], partitions: int) -> dict[int, int]:
    """By partition."""
    positions: dict[int, int] = {}
    for stream, h in held.items():
        partition = partition_of(stream, partitions)
        positions[partition] = max(positions.get(partition, -1), h.pos)
    return positions
