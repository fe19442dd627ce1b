"""Who is who, as a pure function: what identifiers seen together mean for the graph of customers.

An identifier belongs for ever to the customer it was first linked to. A merge is an edge between two customers; nothing
moves. The customers joined by edges are a cluster, the oldest of them is canonical.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shared.events.erasure import Policy
from shared.identifiers import DEVICES, HARDWARE, Identifier
from shared.ids import NewId

KNOWN_PERSON = "user_id"  # two different ones in one cluster would be two people in one profile
MAX_CLUSTER_IDENTIFIERS = 200  # a cluster that grows past it is a kiosk or a bug, not a person


@dataclass(frozen=True, slots=True)
class Sighting:
    """Identifiers seen together in one event, strongest first, each with its keyed hash."""

    event_id: bytes
    identifiers: Sequence[tuple[bytes, Identifier]]
    occurred_at: int = 0


@dataclass(frozen=True, slots=True)
class Founded:
    customer: bytes
    founding_number: int


@dataclass(frozen=True, slots=True)
class Linked:
    customer: bytes
    value_hash: bytes
    identifier: Identifier


@dataclass(frozen=True, slots=True)
class Merged:
    merge_id: bytes
    customer: bytes
    other: bytes


@dataclass(frozen=True, slots=True)
class Proposed:
    proposal_id: bytes
    customer: bytes
    other: bytes
    reason: str


Conclusion = Founded | Linked | Merged | Proposed


@dataclass(frozen=True, slots=True)
class Suppression:
    """What an erasure leaves of an identifier, so that nothing brings its customer back."""

    erasure_id: bytes
    policy: Policy
    erased_at: int

    def forbids(self, occurred_at: int) -> bool:
        """A person who starts clean has a future and no past."""
        return self.policy == "refuse" or occurred_at <= self.erased_at


@dataclass(slots=True)
class Cluster:
    """The customers joined by edges, and what of their identifiers decides whether more may join."""

    canonical: bytes
    members: set[bytes]
    known_people: set[bytes] = field(default_factory=set)  # hashes of user ids
    named: bool = False  # has an identifier that is no device's
    size: int = 0  # identifiers


@dataclass(slots=True)
class Graph:
    """The part of the graph that a unit of events touches."""

    links: dict[bytes, bytes] = field(default_factory=dict)  # identifier hash -> customer
    founding_numbers: dict[bytes, int] = field(default_factory=dict)
    clusters: dict[bytes, Cluster] = field(default_factory=dict)  # customer -> its cluster
    proposals: set[tuple[bytes, bytes]] = field(default_factory=set)
    next_founding_number: int = 0
    suppressions: dict[bytes, Suppression] = field(default_factory=dict)  # by identifier hash

    def cluster_of(self, value_hash: bytes) -> Cluster:
        return self.clusters[self.links[value_hash]]


def evolve(graph: Graph, conclusion: Conclusion) -> None:
    """Applies a conclusion to the part of the graph that is in memory; `views.apply` does the same to the tables."""
    match conclusion:
        case Founded(customer, founding_number):
            graph.founding_numbers[customer] = founding_number
            graph.next_founding_number = max(graph.next_founding_number, founding_number + 1)
            graph.clusters[customer] = Cluster(customer, {customer})
        case Linked(customer, value_hash, identifier):
            graph.links[value_hash] = customer
            cluster = graph.clusters[customer]
            cluster.size += 1
            cluster.named |= identifier.namespace not in DEVICES
            if identifier.namespace == KNOWN_PERSON:
                cluster.known_people.add(value_hash)
        case Merged(_, customer, other):
            _join(graph, graph.clusters[customer], graph.clusters[other])
        case Proposed(_, customer, other, _):
            graph.proposals.add((customer, other))


def admit(graph: Graph, sighting: Sighting) -> Sighting | Suppression:
    """The sighting, without suppressed devices; or the suppression that forbids to take the event in.

    A device outlives the person who used it: with a name or an address of somebody else, the event is somebody else's.
    """
    suppressed: dict[bytes, Suppression] = {}
    for value_hash, _ in sighting.identifiers:
        found = graph.suppressions.get(value_hash)
        if found is not None and found.forbids(sighting.occurred_at):
            suppressed[value_hash] = found
    if not suppressed:
        return sighting
    rest = [(value_hash, identifier) for value_hash, identifier in sighting.identifiers if value_hash not in suppressed]
    for value_hash, identifier in sighting.identifiers:
        if value_hash in suppressed and identifier.namespace not in DEVICES:
            return suppressed[value_hash]
    if all(identifier.namespace in DEVICES for _, identifier in rest):
        return next(iter(suppressed.values()))
    return replace(sighting, identifiers=rest)


def _join(graph: Graph, one: Cluster, other: Cluster) -> None:
    if one is other:
        return
    one.members |= other.members
    one.known_people |= other.known_people
    one.named |= other.named
    one.size += other.size
    one.canonical = min(one.canonical, other.canonical, key=graph.founding_numbers.__getitem__)
    for member in other.members:
        graph.clusters[member] = one


def decide(graph: Graph, sighting: Sighting, new_id: NewId) -> tuple[bytes, list[Conclusion]]:
    """The customer that the event belongs to, and what its identifiers seen together mean. Evolves `graph`."""
    conclusions: list[Conclusion] = []

    def conclude(conclusion: Conclusion) -> None:
        evolve(graph, conclusion)
        conclusions.append(conclusion)

    home = _home(graph, sighting)
    if home is None:
        home = new_id()
        conclude(Founded(home, graph.next_founding_number))
    for value_hash, identifier in sighting.identifiers:
        if value_hash not in graph.links:
            conclude(Linked(home, value_hash, identifier))
        elif graph.cluster_of(value_hash) is not graph.clusters[home]:
            verdict = _join_or_propose(graph, home, value_hash, identifier, new_id)
            if verdict is not None:
                conclude(verdict)
    return graph.links[sighting.identifiers[0][0]], conclusions


def _home(graph: Graph, sighting: Sighting) -> bytes | None:
    """The customer of the strongest identifier that is known and may take in the unknown ones; None founds a new one."""
    unknown = [(value_hash, identifier) for value_hash, identifier in sighting.identifiers if value_hash not in graph.links]
    new_person = any(identifier.namespace == KNOWN_PERSON for _, identifier in unknown)
    for rank, (value_hash, identifier) in enumerate(sighting.identifiers):
        if value_hash in graph.links:
            cluster = graph.cluster_of(value_hash)
            someone_else = (new_person and cluster.known_people) or (identifier.namespace in HARDWARE and cluster.named)
            full = unknown and cluster.size + len(unknown) > MAX_CLUSTER_IDENTIFIERS
            if rank == 0 or not (someone_else or full):
                return graph.links[value_hash]
    return None


def _join_or_propose(graph: Graph, home: bytes, value_hash: bytes, identifier: Identifier, new_id: NewId) -> Conclusion | None:
    """None: a device that people share says nothing about them, and a proposal is made once.

    Hardware is stricter than a browser's or an installation's id, which is new after a logout: a till or a tablet in a shop
    keeps its own through all its visitors, so it tells of nobody any more once one of them has a name.
    """
    other = graph.links[value_hash]
    mine, theirs = graph.clusters[home], graph.clusters[other]
    if identifier.namespace in HARDWARE and theirs.named:
        return None
    if mine.known_people and theirs.known_people:
        reason = "TWO_KNOWN_PEOPLE"
    elif mine.size + theirs.size > MAX_CLUSTER_IDENTIFIERS:
        reason = "CLUSTER_TOO_LARGE"
    else:
        return Merged(new_id(), home, other)
    pair = (min(home, other), max(home, other))
    if identifier.namespace in DEVICES or pair in graph.proposals:
        return None
    return Proposed(new_id(), *pair, reason)
