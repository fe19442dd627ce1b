"""Remembers what was seen together lately, and whose it is: seen like this again, an event changes nothing."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.identity.domain.sighting import Sighting, Suppression
from services.identity.graph.facts import Evidence, Node
from services.identity.graph.region import Seen

KNOWN_SIGHTINGS = 200_000  # that need no look-up, about 300 bytes each
NEVER = -1  # before any instant


class Known(NamedTuple):
    """`evidence` is the earliest. What happened at `no_past_until` or before may name somebody who was erased."""

    evidence: Evidence
    customer: bytes
    no_past_until: int


class Familiar:
    """A cache: what it doesn't tell is looked up, and the answer is the same."""

    def __init__(self, limit: int = KNOWN_SIGHTINGS) -> None:
        self._limit = limit
        self._known: OrderedDict[tuple[Node, ...], Known] = OrderedDict()

    def customer_of(self, seen: Seen) -> bytes | None:
        """None: what is kept of it decides."""
        found = self._known.get(seen.nodes)
        if found is None or seen.by is not None or seen.evidence.occurred_at <= found.no_past_until:
            return None
        if len(seen.nodes) > 1 and found.evidence > seen.evidence:
            return None
        return found.customer

    def unsure(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        """Those whose identifiers may be suppressed."""
        return [sighting for sighting in sightings if self.customer_of(sighting.seen()) is None]

    def remember(self, fresh: Mapping[tuple[Node, ...], tuple[Evidence, bytes]], suppressions: Mapping[bytes, Suppression]) -> None:
        """`suppressions` are those of all these identifiers. Who came back after an erasure has no past all the same."""
        for nodes, (evidence, customer) in fresh.items():
            erased = [found.erased_at for node in nodes if (found := suppressions.get(node.value_hash)) is not None]
            self._known[nodes] = Known(evidence, customer, max(erased, default=NEVER))
        while len(self._known) > self._limit:
            self._known.popitem(last=False)

    def clear(self) -> None:
        """Something was erased: all of it is looked up again."""
        self._known.clear()
