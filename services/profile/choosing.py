"""Chooses golden records by rules: which rules are meant, and what they have to know of what the person has confirmed."""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

from services.profile.cache import LoadingCache
from services.profile.domain.clocks import Instant
from services.profile.domain.computed.aggregates import computed, next_change
from services.profile.domain.computed.definitions import Definitions
from services.profile.domain.computed.occurrences import Occurrence
from services.profile.domain.computed.take import join
from services.profile.domain.computed.windows import within
from services.profile.domain.decided import KnownDecision, when_decided
from services.profile.domain.golden import GoldenRecord, VerifiedValue, golden_record, unconfirmed
from services.profile.domain.rules import Rules
from services.profile.domain.rules_document import CONFIRMABLE
from services.profile.domain.state import Held, State
from services.profile.failures import note
from services.profile.reading import steady_until
from services.profile.tables.rulebook import Rulebook
from shared.errors import InvalidInput
from shared.identifiers import hash_of, normalise
from shared.instants import END_OF_TIME, Clock
from shared.pieces import Pieces

# Those in force at the instant that is asked for, those in force now, or a version.
RulesChoice = Literal["then", "now"] | int
THEN: Final = "then"
TOKENS: Final = b"tokens of values"
CHOSEN_AT_ONCE: Final = 250  # members, traits and identifiers: a millisecond or two


class Chooser:
    def __init__(
        self, rulebook: Rulebook, decisions: LoadingCache[bytes, list[KnownDecision]], lookup_key: bytes, clock: Clock
    ) -> None:
        self._rulebook = rulebook
        self._decisions = decisions
        self._lookup_key = lookup_key
        self._token_key = hmac.digest(lookup_key, TOKENS, hashlib.sha256)
        self._clock = clock

    @property
    def in_force(self) -> Rules:
        return self._rulebook.rules

    def knowing(self, decisions: LoadingCache[bytes, list[KnownDecision]], at: int) -> "Chooser":
        """As it chose at an instant, by what was known of decisions then."""
        return Chooser(self._rulebook, decisions, self._lookup_key, lambda: at)

    def rules(self, choice: RulesChoice, known_at: int) -> Rules:
        """Raises NotFound (RULES_UNKNOWN)."""
        if isinstance(choice, int):
            return self._rulebook.version(choice).rules
        return self._rulebook.rules if choice == "now" else self._rulebook.known_at(known_at)

    async def records(
        self, clusters: Mapping[bytes, Mapping[bytes, Held]], rules: Rules, instant: Instant
    ) -> dict[bytes, GoldenRecord]:
        """By customer. The states are folded with what these rules need; what wasn't confirmed by that instant isn't.

        One of whom no record can be made is absent, and it is noted.
        """
        verified = await self.confirmed(unconfirmed((h.state for held in clusters.values() for h in held.values()), rules), instant)
        is_now = instant.earlier == END_OF_TIME
        at = self._clock() if is_now else instant.earlier
        records, pieces = dict[bytes, GoldenRecord](), Pieces(CHOSEN_AT_ONCE)
        for customer, held in clusters.items():
            states = {stream: h.state for stream, h in held.items()}
            try:
                if is_now and rules.computed is not None:
                    steady_until(_next_change(list(states.values()), rules.computed, at))
                record = golden_record(states, rules, verified, at, self._token_key)
            except Exception as error:
                note(customer or min(states), "choose", error)
                continue
            records[customer] = record
            await pieces.done(len(record.members) + len(record.traits) + len(record.identifiers))
        return records

    def counted(self, states: Sequence[State], rules: Rules, trait: str, by: int) -> tuple[list[Occurrence], int]:
        """Of a computed trait, what is kept of what its value is made of, as of then; and how much that is in all."""
        assert rules.computed is not None, "it has that trait"
        definition, kept = rules.computed.all[trait], join(state.computed for state in states).get(trait)
        at = self._clock() if by == END_OF_TIME else by
        return (within(kept, definition.span, at), computed(kept, definition, at).counted) if kept else ([], 0)

    async def verified(self, records: Iterable[GoldenRecord], instant: Instant) -> list[frozenset[str]]:
        """Of each record the names of the traits whose value the person has confirmed from that very address."""
        shown = [
            {(name, trait.value) for name in CONFIRMABLE if (trait := record.traits.get(name)) and isinstance(trait.value, str)}
            for record in records
        ]
        confirmed = await self.confirmed({one for values in shown for one in values}, instant)
        return [frozenset(name for name, _ in values & confirmed) for values in shown]

    async def confirmed(self, values: Collection[VerifiedValue], instant: Instant) -> set[VerifiedValue]:
        """Of values of traits those that the person had confirmed from that very address, as known then."""
        return {one for one, made in (await self.confirmations(values)).items() if any(d.counts(instant) for d in made)}

    async def confirmations(self, values: Collection[VerifiedValue]) -> dict[VerifiedValue, list[KnownDecision]]:
        """Of values of traits what confirmed each, from that very address, whenever that was: at least once, the first first."""
        hashes = {one: value_hash for one in values if (value_hash := self._hash_of(*one)) is not None}
        found = await self._decisions.get(set(hashes.values())) if hashes else {}
        confirming = {one: [d for d in found.get(value_hash, ()) if d.confirmed] for one, value_hash in hashes.items()}
        return {one: sorted(decisions, key=when_decided) for one, decisions in confirming.items() if decisions}

    def _hash_of(self, name: str, value: str) -> bytes | None:
        """As the identifier that the trait's value is; None when it is none."""
        try:
            return hash_of(normalise(name, value), self._lookup_key)
        except InvalidInput:
            return None


def _next_change(states: Sequence[State], definitions: Definitions, at: int) -> int:
    """Until when computed traits stay what they are at `at`, if no event comes."""
    if any(definition.aggregate == "time_since" for definition in definitions.all.values()):
        return at
    kept = join(state.computed for state in states)
    return END_OF_TIME if (soonest := next_change(kept, definitions, at)) is None else soonest
