"""The golden record: states of merged customers combined when they are read, so that a merge moves nothing, and a value chosen for each trait."""

from typing import Any

import msgspec

from services.profile.domain.state import (
    Candidate,
    LinkedIdentifier,
    State,
    join_edge,
    keep_within_limits,
    linked,
    offer,
    state_hash,
)


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
            join_edge(whole.edges, merge_id, other)
        whole.cut |= state.cut
        whole.restricted |= state.restricted
        whole.erased |= state.erased
        for name, candidates in state.traits.items():
            for source, candidate in candidates.items():
                offer(whole.traits.setdefault(name, {}), source, candidate)
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


def _survivor(candidates: dict[str, Candidate]) -> GoldenTrait | None:
    source, winner = max(candidates.items(), key=lambda item: (item[1].rank, item[0]))
    if winner.value is None:
        return None
    return GoldenTrait(winner.value, source, winner.occurred_at, winner.event_id)
