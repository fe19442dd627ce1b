"""What of an event says who it is about, and what an erasure forbids. Pure; who is who is in `graph`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.identity.graph.facts import Evidence, Node
from services.identity.graph.region import Seen
from services.identity.graph.rules import Rules
from shared.events.erasure import Policy
from shared.identifiers import Identifier, hash_of

ITSELF = "event"  # the namespace of an event that nothing else names


@dataclass(frozen=True, slots=True)
class Sighting:
    """Identifiers seen together in one event, strongest first and blocked ones last, each with its keyed hash.

    `by` is what the event resolves by when all of them are blocked: itself.
    """

    event_id: bytes
    identifiers: Sequence[tuple[bytes, Identifier]]
    occurred_at: int = 0
    by: tuple[bytes, Identifier] | None = None

    def seen(self) -> Seen:
        nodes = tuple(Node(identifier.namespace, value_hash) for value_hash, identifier in self.identifiers)
        by = Node(self.by[1].namespace, self.by[0]) if self.by else None
        return Seen(nodes, Evidence(self.occurred_at, self.event_id), by)


def sighting_of(event_id: bytes, identifiers: Sequence[Identifier], occurred_at: int, rules: Rules, key: bytes) -> Sighting:
    """An event without any usable identifier was accepted all the same: it founds a customer of its own."""
    itself = Identifier(ITSELF, event_id.hex())
    hashed = [(hash_of(identifier, key), identifier) for identifier in identifiers or [itself]]
    hashed.sort(key=lambda item: (item[0] in rules.blocked, rules.rank(item[1].namespace), item[1]))
    by = (hash_of(itself, key), itself) if hashed[0][0] in rules.blocked else None
    return Sighting(event_id, hashed, occurred_at, by)


@dataclass(frozen=True, slots=True)
class Suppression:
    """What an erasure leaves of an identifier, so that nothing brings its customer back."""

    erasure_id: bytes
    policy: Policy
    erased_at: int

    def forbids(self, occurred_at: int) -> bool:
        """A person who starts clean has a future and no past, however often she came back meanwhile.

        `occurred_at` is what the event says of itself, corrected by how wrong its client's clock is and never later than
        we received it; `erased_at` is identity's clock when there was no way back any more.
        """
        return self.policy == "refuse" or occurred_at <= self.erased_at


@dataclass(frozen=True, slots=True)
class Proposal:
    """A merge that people have to decide."""

    proposal_id: bytes
    customer: bytes
    other: bytes
    reason: str
    cause: bytes
    weight: float | None = None  # bits, of a match
    doubts: tuple[str, ...] = ()  # why a match isn't certain


def admit(suppressions: Mapping[bytes, Suppression], sighting: Sighting, rules: Rules) -> Sighting | Suppression:
    """The sighting, without suppressed devices; or the suppression that forbids to take the event in.

    A device outlives the person who used it: with a name or an address of somebody else, the event is somebody else's.
    """
    suppressed: dict[bytes, Suppression] = {}
    for value_hash, _ in sighting.identifiers:
        found = suppressions.get(value_hash)
        if found is not None and found.forbids(sighting.occurred_at):
            suppressed[value_hash] = found
    if not suppressed:
        return sighting
    rest = [(value_hash, identifier) for value_hash, identifier in sighting.identifiers if value_hash not in suppressed]
    for value_hash, identifier in sighting.identifiers:
        if value_hash in suppressed and not rules.of(identifier.namespace).device:
            return suppressed[value_hash]
    if all(rules.of(identifier.namespace).device or value_hash in rules.blocked for value_hash, identifier in rest):
        return next(iter(suppressed.values()))
    return replace(sighting, identifiers=rest)
