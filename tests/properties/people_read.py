"""Customers as profile reads them, in memory: states folded from histories, decisions about their identifiers, a lease that holds."""

from collections.abc import Collection
from typing import Any, cast

import msgspec

from services.profile.app import Profiles
from services.profile.batches import Batches
from services.profile.cache import LoadingCache
from services.profile.choosing import Chooser
from services.profile.domain.decided import KnownDecision
from services.profile.domain.state import Held
from services.profile.tables.rulebook import Rulebook
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.consent import ALL_TRAITS, EVERY_PURPOSE, LegalBasis, Outcome, PurposeDefined, Restriction
from shared.ids import derived_id
from tests.properties.histories import fold

LOOKUP_KEY = b"l" * 32
PARTITIONS = 2


def purpose(legal_basis: LegalBasis, *traits: str, version: int = 1, name: str = "support") -> PurposeDefined:
    return PurposeDefined(
        request_id="1", name=name, version=version, description="", legal_basis=legal_basis, traits=traits or (ALL_TRAITS,)
    )


def decision(
    value_hash: bytes,
    outcome: Outcome,
    decided_at: int,
    *,
    confirmed: bool = False,
    purpose: str = "support",
    recorded_at: int | None = None,
) -> KnownDecision:
    return KnownDecision(
        request_id="1",
        decision_id=derived_id(value_hash, outcome.encode(), decided_at.to_bytes(8)),
        identifier_hash=value_hash,
        namespace="email",
        purpose=purpose,
        purpose_version=1,
        outcome=outcome,
        decided_at=decided_at,
        confirmed=confirmed,
        recorded_at=decided_at if recorded_at is None else recorded_at,
    )


def overlay(value_hash: bytes, at: int, *, lifts: bytes = b"") -> KnownDecision:
    """A restriction of processing, or the end of one."""
    made = decision(value_hash, "restriction_lifted" if lifts else "restricted", at, purpose=EVERY_PURPOSE)
    said = Restriction(grounds=("legal_claims",), lifts=lifts, by="desk", reason="letter")
    return msgspec.structs.replace(made, restriction=said)


class People:
    """`loads` are the sets of streams whose states were asked for, one for each time; nothing is cached between reads."""

    lookup_key = LOOKUP_KEY  # so it is the vault, too

    def __init__(self, history: list[Entry], streams: Collection[bytes], decisions: Collection[KnownDecision] = ()) -> None:
        self.loads: list[set[bytes]] = []
        self._held = {stream: self._fold(stream, history, number) for number, stream in enumerate(streams)}
        self._decisions = decisions
        states = LoadingCache(self._states, 0)
        decided = LoadingCache(self._decided, 0)
        self.profiles = Profiles(
            history=cast(Any, None),
            chooser=Chooser(Rulebook(cast(Any, None), PARTITIONS), decided, self.lookup_key, lambda: 0),
            identifiers=cast(Any, None),
            states=states,
            decisions=decided,
            purposes={},
            vault=cast(Any, self),
            lease_holds=lambda: True,
            settle=cast(Any, None),
            clock=lambda: 0,
            partitions=PARTITIONS,
        )
        self.batches = Batches(self.profiles, cast(Any, None), states, self.lookup_key)

    def _fold(self, stream: bytes, history: list[Entry], number: int) -> Held:
        birth = make_entry(events.FOUNDED, stream, derived_id(stream), 0, events.CustomerFounded(founding_number=number))
        own = [birth, *(entry for entry in history if entry.stream == stream)]
        return Held(fold(own), version=len(own), pos=number * 100 + len(own))

    async def _states(self, streams: Collection[bytes]) -> dict[bytes, Held]:
        self.loads.append(set(streams))
        return {stream: self._held[stream] for stream in streams if stream in self._held}

    async def _decided(self, hashes: Collection[bytes]) -> dict[bytes, list[KnownDecision]]:
        return {bound: [d for d in self._decisions if d.identifier_hash == bound] for bound in hashes}
