"""The golden record: states of merged customers combined when they are read, so that a merge moves nothing, and a value chosen for each trait."""

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from services.profile.domain.computed.aggregates import values
from services.profile.domain.computed.take import join
from services.profile.domain.joining import take_in
from services.profile.domain.rules import PLAIN, Keeping, Rules, TraitRule
from services.profile.domain.said import Assertion, Rank, assertions
from services.profile.domain.state import (
    MAX_TRAITS,
    Candidate,
    LinkedIdentifier,
    State,
    keep_within_limits,
    linked,
    names_all,
    ranking,
    state_hash,
)
from services.profile.domain.survivorship import judge, misses
from shared.instants import END_OF_TIME

COMPUTED = "computed"  # the source of computed traits
NO_EVENT = bytes(16)  # where none has counted yet
VerifiedValue = tuple[str, str]  # a trait's name, and a value that the person has confirmed


class GoldenTrait(msgspec.Struct, frozen=True):
    """A chosen value, and whose it is: of several contributors the latest. `cut`: not all that was said could be considered."""

    value: Any
    source: str
    occurred_at: int
    event_id: bytes
    cut: bool = False

    def __repr__(self) -> str:
        return "<GoldenTrait sealed>"


class GoldenRecord(msgspec.Struct, frozen=True):
    """The chosen traits of a cluster; members are streams, oldest first, the first of them canonical."""

    members: list[bytes]
    traits: dict[str, GoldenTrait]
    identifiers: dict[bytes, LinkedIdentifier]
    founded_at: int  # when the first thing happened
    last_seen_at: int
    state_hash: str
    restricted: bool = False
    named: dict[bytes, int] = {}  # by identifier hash: when the earliest event happened that names it
    unplaced: frozenset[LinkedIdentifier] = frozenset()  # may be among the identifiers: not all that events name could be kept
    left_out: bool = False  # traits, for want of room: of others than the rules name
    too_large: frozenset[str] = frozenset()  # traits that aren't there, but for values larger than a profile carries
    permitted_points: frozenset[bytes] = frozenset()  # hashes of contact points that each permit what it is read for
    token_key: bytes = b""  # by which what is tokenised is; none: it isn't shown
    redacted: frozenset[str] = frozenset()  # names of traits that can't be told, as events that may count for them are gone

    def __repr__(self) -> str:
        return f"<GoldenRecord of {len(self.members)} members sealed>"


def combine(states: dict[bytes, State], keeping: Keeping = PLAIN) -> State:
    """The state that one stream with all their events would have, under the same keeping."""
    whole = State(founding_number=min(state.founding_number for state in states.values()))
    oldest = min(states.values(), key=lambda state: state.founding_number)
    whole.founded_at = oldest.founded_at
    for state in states.values():
        take_in(whole, state)
    whole.computed = join(state.computed for state in states.values())
    keep_within_limits(whole, keeping)
    return whole


def unconfirmed(states: Iterable[State], rules: Rules) -> set[VerifiedValue]:
    """The values of which a choice has to know whether they are verified."""
    return {
        (name, said.value)
        for name in rules.verifying
        for state in states
        for said in state.assertions.get(name, {}).values()
        if isinstance(said.value, str)
    }


def golden_record(
    states: dict[bytes, State], rules: Rules, verified: Collection[VerifiedValue] = (), at: int = 0, token_key: bytes = b""
) -> GoldenRecord:
    """The states are folded with what these rules keep; `verified` are those of `unconfirmed` that are.

    Computed traits are as of `at`, or of the newest event that counts, whichever is later. Those identifiers are there that an event
    names which counts, whenever it was learnt that they are the customer's.
    """
    whole = combine(states, rules.keeping)
    members = sorted(states, key=lambda stream: (states[stream].founding_number, stream))
    links, all_named = linked(whole), all(map(names_all, states.values()))
    traits = _survivors(whole, rules, verified, None)
    return GoldenRecord(
        members=members,
        traits=_fitting(traits, rules) | _computed(whole, rules, at),
        identifiers={h: one for h, one in links.items() if h in whole.named},
        founded_at=_began_at(whole),
        last_seen_at=whole.last_seen_at,
        state_hash=state_hash(whole),
        restricted=whole.restricted,
        token_key=token_key,
        named=whole.named,
        too_large=_too_large(whole, traits.keys(), rules),
        left_out=bool(whole.left_out_for) or len(traits) > MAX_TRAITS,
        unplaced=frozenset() if all_named else frozenset(one for h, one in links.items() if h not in whole.named),
    )


def _began_at(whole: State) -> int:
    """When the first thing happened; of whom nothing that counts is known, what came first."""
    return whole.founded_at if whole.first_seen_at == END_OF_TIME else whole.first_seen_at


def computed_names(rules: Rules) -> frozenset[str]:
    return frozenset(rules.computed.all) if rules.computed is not None else frozenset()


def without_computed(record: GoldenRecord, rules: Rules) -> GoldenRecord:
    """As it is told where events are redacted: what the others amount to isn't what was computed then."""
    if not (names := computed_names(rules)):
        return record
    kept = {name: trait for name, trait in record.traits.items() if name not in names}
    return msgspec.structs.replace(record, traits=kept, redacted=names)


def surviving(
    states: dict[bytes, State], rules: Rules, verified: Collection[VerifiedValue], names: Collection[str] | None
) -> dict[str, GoldenTrait]:
    """As in the golden record, of the traits of these names, and without the computed ones."""
    whole = next(iter(states.values())) if len(states) == 1 else combine(states, rules.keeping)
    if len(whole.traits) + len(whole.assertions) <= MAX_TRAITS:  # nearly always
        return _survivors(whole, rules, verified, names)
    found = _fitting(_survivors(whole, rules, verified, None), rules)
    return {name: trait for name, trait in found.items() if names is None or name in names}


def _fitting(found: dict[str, GoldenTrait], rules: Rules) -> dict[str, GoldenTrait]:
    """As many as a profile has at most."""
    if len(found) <= MAX_TRAITS:
        return found
    rank = ranking(rules.keeping.first)
    stay = set(sorted(found, key=lambda name: (rank(name), name))[:MAX_TRAITS])
    return {name: trait for name, trait in found.items() if name in stay}


def _survivors(
    whole: State, rules: Rules, verified: Collection[VerifiedValue], names: Collection[str] | None
) -> dict[str, GoldenTrait]:
    found: dict[str, GoldenTrait] = {}
    said = whole.traits.keys() | whole.assertions.keys()
    for name in sorted(said if names is None else said.intersection(names)):
        rule, removed = rules.of(name), whole.removals.get(name)
        if rule.rule == "most_recent" and not rule.needs_all:
            trait = _most_recent(whole.traits[name], removed)
        else:
            trait = _judged(
                _said(whole, name), removed, rule, {value for of, value in verified if of == name}, name in whole.overfull
            )
        if trait is not None:
            found[name] = (
                msgspec.structs.replace(trait, cut=True) if name in whole.too_large and _misses(whole, name, rule) else trait
            )
    return found


def _misses(whole: State, name: str, rule: TraitRule) -> bool:
    chosen = max((one.rank for one in whole.traits.get(name, {}).values()), default=None)
    return misses(whole.too_large[name], whole.removals.get(name), chosen, rule)


def _too_large(whole: State, found: Collection[str], rules: Rules) -> frozenset[str]:
    names = whole.too_large.keys() - found - computed_names(rules)
    return frozenset(name for name in names if misses(whole.too_large[name], whole.removals.get(name), None, rules.of(name)))


def _computed(whole: State, rules: Rules, at: int) -> dict[str, GoldenTrait]:
    """One that has no value is absent. What sources say under the name of a computed trait isn't served."""
    if rules.computed is None:
        return {}
    found = values(whole.computed, rules.computed, at)
    return {
        name: GoldenTrait(one.value, COMPUTED, *(one.newest[:2] if one.newest else (_began_at(whole), NO_EVENT)), one.cut)
        for name, one in found.items()
        if one.value is not None
    }


def _most_recent(candidates: dict[str, Candidate], removed: Rank | None) -> GoldenTrait | None:
    """What `judge` gives, without its reasons: most traits of most customers are chosen so."""
    source, winner = (
        max(candidates.items(), key=lambda item: item[1].rank) if len(candidates) > 1 else next(iter(candidates.items()))
    )
    if removed is not None and removed >= winner.rank:
        return None
    return GoldenTrait(winner.value, source, winner.occurred_at, winner.event_id)


def _judged(
    said: list[Assertion], removed: Rank | None, rule: TraitRule, verified: Collection[str], overfull: bool
) -> GoldenTrait | None:
    chosen = judge(said, removed, rule, verified).chosen
    if chosen is None:
        return None
    first = chosen.by[0]
    return GoldenTrait(chosen.value, first.source, first.occurred_at, first.event_id, chosen.cut or overfull)


def _said(whole: State, name: str) -> list[Assertion]:
    latest = [Assertion(source, *msgspec.structs.astuple(one)) for source, one in whole.traits.get(name, {}).items()]
    return latest + assertions(whole.assertions.get(name, {}))
