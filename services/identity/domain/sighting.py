"""What of an event says who it is about, and what an erasure forbids. Pure; who is who is in `graph`."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import Final, NamedTuple

from services.identity.graph.facts import Evidence, Node
from services.identity.graph.region import Seen
from services.identity.graph.rules import Rules
from shared.events.erasure import Policy
from shared.events.promotion import Said, promote, said_of
from shared.events.wire import RawEvent
from shared.identifiers import Identifier, hash_of

UNDERSTOOD_BYTES: Final = 8 * 1024 * 1024  # of what needs not be understood again: some thousand visits
UNDERSTOOD_ENTRY_BYTES: Final = 500
UNDERSTOOD_VALUE_BYTES: Final = 520
ITSELF = "event"  # the namespace of an event that nothing else names


class Named(NamedTuple):
    """Identifiers seen together, strongest first and blocked ones last, each with its keyed hash; `nodes` is what they are in the graph."""

    identifiers: Sequence[tuple[bytes, Identifier]]
    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, hashed: Sequence[tuple[bytes, Identifier]]) -> "Named":
        return cls(hashed, tuple([Node(identifier.namespace, value_hash) for value_hash, identifier in hashed]))


class Sighting(NamedTuple):
    """Whom one event names. `by` is what it resolves by when all of that is blocked: itself."""

    event_id: bytes
    named: Named
    occurred_at: int = 0
    by: tuple[bytes, Identifier] | None = None

    @property
    def identifiers(self) -> Sequence[tuple[bytes, Identifier]]:
        return self.named.identifiers

    def values(self) -> dict[bytes, Identifier]:
        return dict([*self.identifiers, self.by] if self.by else self.identifiers)

    def seen(self) -> Seen:
        by = Node(self.by[1].namespace, self.by[0]) if self.by else None
        return Seen(self.named.nodes, Evidence(self.occurred_at, self.event_id), by)


class Understanding:
    """Whom events name, by their own words: those of a visit say the same, in one unit after another. A cache; what it holds is personal."""

    def __init__(self, key: bytes, limit_bytes: int = UNDERSTOOD_BYTES) -> None:
        self._key = key
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._rules: Rules | None = None  # that all of it was understood by
        self._named: OrderedDict[tuple[Said, str], Named] = OrderedDict()

    def named(self, event: RawEvent, rules: Rules) -> Named:
        if rules is not self._rules:
            self.clear()
            self._rules = rules
        said = said_of(event), event.region
        if (named := self._named.get(said)) is None:
            named = self._named[said] = named_by(promote(*said), rules, self._key)
            self._bytes += _size(said[0])
            while self._bytes > self._limit_bytes:
                (oldest, _), _ = self._named.popitem(last=False)
                self._bytes -= _size(oldest)
        return named

    def clear(self) -> None:
        """Somebody was erased, who must not stay in memory."""
        self._named.clear()
        self._bytes = 0

    def sightings_of(self, events: Mapping[bytes, RawEvent], rules: Rules) -> list[Sighting]:
        """By event id. An event without any usable identifier was accepted all the same: it founds a customer of its own."""
        return [_sighting(event_id, event, self.named(event, rules), rules, self._key) for event_id, event in events.items()]


def _size(said: Said) -> int:
    """About, of an entry: each value is there as it came, as it is normalised, and as it is hashed."""
    return UNDERSTOOD_ENTRY_BYTES + sum([UNDERSTOOD_VALUE_BYTES + 2 * getsizeof(value) for _, value in said])


def named_by(identifiers: Iterable[Identifier], rules: Rules, key: bytes) -> Named:
    hashed = [(hash_of(identifier, key), identifier) for identifier in identifiers]
    hashed.sort(key=lambda item: (item[0] in rules.blocked, rules.rank(item[1].namespace), item[1]))
    return Named.of(hashed)


def _sighting(event_id: bytes, event: RawEvent, named: Named, rules: Rules, key: bytes) -> Sighting:
    occurred_at = min(event.occurred_at, event.received_at)
    if named.nodes and named.nodes[0].value_hash not in rules.blocked:
        return Sighting(event_id, named, occurred_at)
    itself = Identifier(ITSELF, event_id.hex())
    if not named.nodes:
        return Sighting(event_id, named_by([itself], rules, key), occurred_at)
    return Sighting(event_id, named, occurred_at, (hash_of(itself, key), itself))


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
    ends: tuple[bytes, bytes] = (b"", b"")  # value hashes: of whom of either customer it is asked


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
    return sighting._replace(named=Named.of(rest))
