"""Which customer answers for which, from the states of their streams. Pure."""

from collections.abc import Collection, Iterable, Mapping

from services.profile.domain.state import Held, State, reachable


def members_of(stream: bytes, states: Mapping[bytes, Held]) -> frozenset[bytes]:
    """Of the customer that a stream belongs to: what edges join, so far as `states` has it."""
    members, new = {stream}, {stream}
    while new:
        new = {other for other in reachable(states[one].state for one in new) if other in states} - members
        members |= new
    return frozenset(members)


def canonical_of(members: Collection[bytes], states: Mapping[bytes, Held]) -> bytes:
    """The oldest, as in a golden record."""
    return min(members, key=lambda stream: (states[stream].state.founding_number, stream))


def canonicals(streams: Collection[bytes], states: Mapping[bytes, Held]) -> dict[bytes, bytes]:
    """{member: canonical} of the customers that these streams belong to; streams that `states` doesn't have are absent."""
    found: dict[bytes, bytes] = {}
    for stream in streams:
        if stream in states and stream not in found:
            members = members_of(stream, states)
            found |= dict.fromkeys(members, canonical_of(members, states))
    return found


def ever_reachable(states: Iterable[State]) -> set[bytes]:
    """Streams that edges lead to, also those that were taken back."""
    return {other for state in states for other in state.edges.values()}
