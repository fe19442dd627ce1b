"""What there is to tell of a customer at an instant, and until when that stays so if no event comes: for whoever compares instants."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from services.profile.cache import LoadingCache
from services.profile.choosing import Chooser
from services.profile.clusters import bonds_of
from services.profile.domain.clocks import Instant, Order
from services.profile.domain.computed.aggregates import next_change
from services.profile.domain.computed.take import join
from services.profile.domain.decided import KnownDecision, holding
from services.profile.domain.diff import Side
from services.profile.domain.golden import GoldenRecord, VerifiedValue, unconfirmed, without_computed
from services.profile.domain.membership import Standing, standing
from services.profile.domain.rules import Rules
from services.profile.domain.rules_document import CONFIRMABLE
from services.profile.domain.state import Held, State
from services.profile.failures import made
from services.profile.tables.snapshots import NEVER, Past
from shared.consent_rule import outlives_parting


class Sides:
    def __init__(self, chooser: Chooser, decisions: LoadingCache[bytes, list[KnownDecision]]) -> None:
        self._chooser = chooser
        self._decisions = decisions

    async def of(
        self,
        customer: bytes,
        past: Mapping[bytes, Past],
        rules: Rules,
        instant: Instant,
        *,
        along: Order = "known",
        whole: bool = True,
        erased: bool = False,
    ) -> Side:
        """Of the customers that were one, each as it was, folded for these rules. What is decided counts by that instant, as does time.

        Not `whole` it is without what was decided and segments. Where events are redacted it is without what they may have counted for:
        what was computed, and segments. Of one who is `erased` by now none of that is told, whatever the instant. Raises ProfileFailed.
        """
        states = {member: one.held.state for member, one in past.items()}
        if all(one.latest_at == NEVER for one in past.values()):
            return Side(states=states, rules=rules, instant=instant)
        held = {customer: {member: one.held for member, one in past.items()}}
        redacted = erased or any(one.redacted for one in past.values())
        record = made((await self._chooser.records(held, rules, instant)).get(customer))
        record = without_computed(record, rules) if redacted else record
        confirmed = await self._chooser.confirmations(unconfirmed(states.values(), rules) | _confirmable(record))
        decisions = await self._decided(held[customer], record) if whole and not erased else []
        place = standing(states.values(), record, rules, instant.earlier) if whole and not redacted else Standing()
        return Side(
            told=True,
            traits=record.traits,
            verified={one[0] for one, made in confirmed.items() if _is(record, *one) and any(d.counts(instant) for d in made)},
            identifiers=record.identifiers,
            segments=place.segments,
            decided=holding(one for one in decisions if one.counts(instant)),
            confirmed=confirmed,
            states=states,
            rules=rules,
            instant=instant,
            next_at=_next(
                instant, along, chain(decisions, *confirmed.values()), place, [] if redacted else list(states.values()), rules
            ),
            redacted=redacted,
            not_all_kept=bool(record.left_out or record.too_large or record.unplaced),
        )

    async def _decided(self, held: Mapping[bytes, Held], record: GoldenRecord) -> list[KnownDecision]:
        """By the identifiers that were hers, and what was forbidden by those that parted from her."""
        bonds = {bound: bond for bound, bond in bonds_of(held).items() if bound in record.identifiers or not bond.theirs}
        found = await self._decisions.get(bonds.keys())
        return [d for bound, bond in bonds.items() for d in found[bound] if bond.theirs or outlives_parting(d)]


def as_of_their_events(side: Side) -> Side:
    """Without what a clock says at every instant anew: how long ago something was is told as it was when it happened."""
    read = {name: msgspec.structs.replace(side.traits[name], value=0) for name in side.rules.clocks & side.traits.keys()}
    return msgspec.structs.replace(side, traits={**side.traits, **read}) if read else side


def _confirmable(record: GoldenRecord) -> set[VerifiedValue]:
    found = {(name, record.traits[name].value) for name in CONFIRMABLE if name in record.traits}
    return {(name, value) for name, value in found if isinstance(value, str)}


def _is(record: GoldenRecord, name: str, value: str) -> bool:
    return name in record.traits and record.traits[name].value == value


def _next(
    instant: Instant, along: Order, decisions: Iterable[KnownDecision], place: Standing, states: Sequence[State], rules: Rules
) -> int | None:
    """The next instant, of the clock that is walked along, at which a decision or the passing of time may change what is told."""
    at, still = instant.earlier, instant.along(along)[1]
    due = [] if place.due_at is None else [place.due_at]
    if rules.computed is not None:
        soonest = next_change(join(state.computed for state in states), rules.computed, at)
        due += [] if soonest is None else [soonest]
    instants = [decision.counts_after(instant, along) for decision in decisions]
    instants += [one for one in due if at < one <= still]  # no time passes by the other clock
    return min((one for one in instants if one is not None), default=None)
