"""Adds events to a state: the same code for now and for any past instant, in whatever order they come."""

from collections.abc import Iterable
from typing import Any

import msgspec

from services.profile.domain.computed.take import Counting
from services.profile.domain.rules import Keeping
from services.profile.domain.said import Said
from services.profile.domain.state import (
    Candidate,
    LinkedIdentifier,
    State,
    admits,
    assert_value,
    close,
    join_edge,
    keep_within_limits,
    offer,
    remove,
    see_named,
)
from shared.events import customer as events
from shared.events.catalogue import Entry
from shared.privacy import Personal, Redacted

MAX_TRAIT_BYTES = 4_096

_canonical = msgspec.msgpack.Encoder(order="deterministic")


Step = tuple[
    int, Entry, Any, Personal | Redacted | None
]  # a version of a stream: its event, what is public of it and what is personal


def evolve_to(
    version: int, state: State, entry: Entry, public: Any, personal: Personal | Redacted | None, keeping: Keeping
) -> None:
    """As `evolve`, with the event that has this version of its stream. One that is in the state already changes nothing, in whatever
    order they come: totals couldn't tell by its id."""
    evolve_all([(version, entry, public, personal)], state, keeping)


def evolve_all(steps: Iterable[Step], state: State, keeping: Keeping) -> None:
    """As `evolve_to` with one after the other: together they cost less."""
    counting = Counting(keeping.computed) if keeping.computed is not None else None
    for version, entry, public, personal in steps:
        if admits(state, version):
            _evolve(state, entry, public, personal, keeping, counting)
    if counting is not None and not state.erased:
        counting.keep(state.computed)


def evolve(state: State, entry: Entry, public: Any, personal: Personal | Redacted | None, keeping: Keeping) -> None:
    """Adds one event to the state, in place. Once erased, nothing personal is taken in any more, in whatever order.

    `keeping` is what the rules need; all events of a state are added under the same one.
    """
    counting = Counting(keeping.computed) if keeping.computed is not None else None
    _evolve(state, entry, public, personal, keeping, counting)
    if counting is not None and not state.erased:
        counting.keep(state.computed)


def _evolve(
    state: State,
    entry: Entry,
    public: Any,
    personal: Personal | Redacted | None,
    keeping: Keeping,
    counting: Counting | None,
) -> None:
    """All but what is computed: that is to be kept yet."""
    if isinstance(public, events.Activity):
        _see(state, entry.occurred_at, public)
        if isinstance(personal, events.Identified) and not state.erased:
            _take_traits(state, entry, public, personal, keeping)
        if counting is not None and isinstance(personal, Personal) and not state.erased:
            counting.count(entry, public, personal)
    elif isinstance(public, events.CustomerFounded):
        state.founding_number = public.founding_number
        state.founded_at = entry.occurred_at
    elif isinstance(public, events.IdentifierLinked):
        value = (
            (personal.value or None) if isinstance(personal, events.LinkedValue) else None
        )  # empty: it couldn't be said any more
        if not state.erased:
            state.identifiers[entry.event_id] = LinkedIdentifier(public.value_hash, public.namespace, value)
        _doubt(state, entry.event_id, public.likely)
    elif isinstance(public, events.IdentifierUnlinked):
        state.cut.add(public.link_id)
        _part(state, [public.value_hash] if public.shared else ())
    elif isinstance(public, events.CustomersMerged):
        join_edge(state.edges, public.merge_id, public.other)
        _doubt(state, public.merge_id, public.likely)
    elif isinstance(public, events.CustomersSplit):
        state.cut.add(public.merge_id)
        _part(state, public.shared_hashes)
    elif isinstance(public, events.CustomerRestricted):
        state.restricted = True
    elif isinstance(public, events.CustomerErased):
        close(state)


def _see(state: State, occurred_at: int, public: events.Activity) -> None:
    if occurred_at > state.last_seen_at:  # noqa: PLR1730 - a tenth of what one event costs, once for each
        state.last_seen_at = occurred_at
    if occurred_at < state.first_seen_at:  # noqa: PLR1730
        state.first_seen_at = occurred_at
    see_named(state, public.resolved_by, occurred_at)
    for value_hash in public.also_named:
        see_named(state, value_hash, occurred_at)


def _doubt(state: State, of: bytes, likely: bool) -> None:
    if likely:
        state.likely.add(of)


def _part(state: State, shared_hashes: Iterable[bytes]) -> None:
    if not state.erased:
        state.parted.update(shared_hashes)


def _take_traits(state: State, entry: Entry, public: events.Activity, personal: events.Identified, keeping: Keeping) -> None:
    traits, keeps_some = state.traits, keeping.named or keeping.others
    for name, value in personal.traits.items():
        if not fits(value):
            remove(state.too_large, name, (entry.occurred_at, public.received_at, entry.event_id))
            continue
        if value is None:
            remove(state.removals, name, (entry.occurred_at, public.received_at, entry.event_id))
            continue
        if keeps_some and keeping.keeps_all(name):
            assert_value(state, name, entry.event_id, Said(public.source, value, entry.occurred_at, public.received_at))
            continue
        candidate = Candidate(value, entry.occurred_at, public.received_at, entry.event_id)
        if (candidates := traits.get(name)) is None:
            traits[name] = {public.source: candidate}
        else:
            offer(candidates, public.source, candidate)
    keep_within_limits(state, keeping, personal.traits)


def fits(value: Any) -> bool:
    """A larger value stays in the event, and in the timeline; the profile doesn't carry it and says so."""
    if isinstance(value, str):
        return len(value) <= MAX_TRAIT_BYTES
    return not isinstance(value, dict | list) or len(_canonical.encode(value)) <= MAX_TRAIT_BYTES


def happened_by(entry: Entry, valid_at: int) -> bool:
    """Whether an event counts at a valid time.

    That two customers are one person was always so, whenever we learned it: only what is known limits founding and merges.
    """
    return is_timeless(entry) or entry.occurred_at <= valid_at


def is_timeless(entry: Entry) -> bool:
    return entry.type_id in events.TIMELESS_IDS
