"""What one stream of events amounts to.

Per trait and source it keeps the candidate that holds latest by valid time. Joining states is a semilattice: order and duplication
change nothing.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

# Raise it when `evolve` or State changes: states kept under another version are folded anew from the log.
FOLD_VERSION = 2

MAX_TRAITS = 1_000  # of a customer; a sender that invents names must not make a profile that nobody can read

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


def keep_within_limits(traits: dict[str, dict[str, Candidate]]) -> None:
    """Of too many traits those stay whose names have the smallest hash: a choice that no order of events can change."""
    if len(traits) > MAX_TRAITS:
        names = sorted(traits, key=lambda name: hashlib.sha256(name.encode()).digest())
        for name in names[MAX_TRAITS:]:
            del traits[name]


def offer(candidates: dict[str, Candidate], source: str, candidate: Candidate) -> None:
    held = candidates.get(source)
    # Nearly always the first clock decides.
    if held is None or candidate.occurred_at > held.occurred_at or candidate.rank > held.rank:
        candidates[source] = candidate


def join_edge(edges: dict[bytes, bytes], merge_id: bytes, other: bytes) -> None:
    """Of the two ends of a merge the same one stays, whichever comes first."""
    edges[merge_id] = max(other, edges.get(merge_id, b""))


def linked(state: State) -> dict[bytes, LinkedIdentifier]:
    """By identifier hash."""
    return {found.value_hash: found for link_id, found in sorted(state.identifiers.items()) if link_id not in state.cut}


def state_hash(state: State) -> str:
    """Hexadecimal SHA-256 over the state in an order of its own: equal states have equal hashes."""
    identifiers, edges = sorted(state.identifiers.items()), sorted(state.edges.items())
    clocks = (state.founding_number, state.founded_at, state.last_seen_at)
    content = (*clocks, state.traits, identifiers, edges, state.cut, state.restricted, state.erased)
    return hashlib.sha256(_canonical.encode(content)).hexdigest()


def reachable(states: Iterable[State]) -> set[bytes]:
    """Streams that edges lead to."""
    return {other for state in states for merge_id, other in state.edges.items() if merge_id not in state.cut}
