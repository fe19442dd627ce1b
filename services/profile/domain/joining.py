"""Joins states: of customers that are one, and of one stream that was folded in parts."""

from collections.abc import Collection

from services.profile.domain.computed.take import join
from services.profile.domain.computed.totals import together
from services.profile.domain.rules import Keeping
from services.profile.domain.state import (
    State,
    close,
    join_assertions,
    join_edge,
    keep_within_limits,
    name_within_limits,
    offer,
    remove,
)


def take_in(whole: State, state: State) -> None:
    """All that events said, but for the founding and what is computed. The other doesn't change."""
    whole.first_seen_at = min(whole.first_seen_at, state.first_seen_at)
    whole.last_seen_at = max(whole.last_seen_at, state.last_seen_at)
    whole.identifiers |= state.identifiers
    for value_hash, at in state.named.items():
        whole.named[value_hash] = min(at, whole.named.get(value_hash, at))
    for merge_id, other in state.edges.items():
        join_edge(whole.edges, merge_id, other)
    whole.cut |= state.cut
    whole.likely |= state.likely
    whole.restricted |= state.restricted
    whole.erased |= state.erased
    for name, candidates in state.traits.items():
        for source, candidate in candidates.items():
            offer(whole.traits.setdefault(name, {}), source, candidate)
    for name, rank in state.removals.items():
        remove(whole.removals, name, rank)
    for name, rank in state.too_large.items():
        remove(whole.too_large, name, rank)
    join_assertions(whole, state)
    whole.left_out_for = whole.left_out_for or state.left_out_for


def whole_of(parts: Collection[State], keeping: Keeping) -> State:
    """The state of a stream, of states of parts of it that share no event. Which versions are in it, it doesn't say."""
    whole = State()
    for part in parts:
        take_in(whole, part)
        whole.parted |= part.parted
        if part.founding_number >= 0:
            whole.founding_number, whole.founded_at = part.founding_number, part.founded_at
    whole.computed = join((part.computed for part in parts), together)
    name_within_limits(whole)
    keep_within_limits(whole, keeping)
    if whole.erased:
        close(whole)
    return whole
