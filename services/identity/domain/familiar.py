"""Remembers what was seen together lately, and whose it is: seen like this again, an event changes nothing."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Final

from services.identity.domain.sighting import Suppression
from services.identity.graph.facts import Evidence, Node
from services.identity.graph.region import Seen

FAMILIAR_BYTES: Final = 32 * 1024 * 1024  # of what needs no look-up
ENTRY_BYTES: Final = 400  # of one, besides its identifiers: a table that entries come to and go from has room for more
NEVER: Final = -1  # before any instant

# One object for four, of which there are so many: when the earliest event happened, its id, the customer, and up to when what happened
# may name somebody who was erased.
_known: Final = Struct(">q16s16sq")


class Familiar:
    """A cache: what it doesn't tell is looked up, and the answer is the same."""

    def __init__(self, limit_bytes: int = FAMILIAR_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._known: OrderedDict[bytes, bytes] = OrderedDict()  # by the identifiers' hashes, which have their namespaces in them

    def customer_of(self, seen: Seen) -> bytes | None:
        """None: what is kept of it decides."""
        found = self._known.get(_key(seen.nodes))
        if found is None or seen.by is not None:
            return None
        occurred_at, event_id, customer, no_past_until = _known.unpack(found)
        if seen.evidence.occurred_at <= no_past_until:
            return None
        if (occurred_at, event_id) > seen.evidence:
            return None
        return bytes(customer)

    def customers_of(self, seen: Mapping[bytes, Seen]) -> dict[bytes, bytes]:
        """As `customer_of`, by event id; nothing that these saw is suppressed."""
        return {event_id: found for event_id, one in seen.items() if (found := self.customer_of(one)) is not None}

    def remember(self, fresh: Mapping[tuple[Node, ...], tuple[Evidence, bytes]], suppressions: Mapping[bytes, Suppression]) -> None:
        """`suppressions` are those of all these identifiers. Who came back after an erasure has no past all the same."""
        for nodes, (evidence, customer) in fresh.items():
            erased = [found.erased_at for node in nodes if (found := suppressions.get(node.value_hash)) is not None]
            key, known = _key(nodes), _known.pack(*evidence, customer, max(erased, default=NEVER))
            if key not in self._known:
                self._bytes += len(key) + ENTRY_BYTES
            self._known[key] = known
        while self._bytes > self._limit_bytes:
            key, _ = self._known.popitem(last=False)
            self._bytes -= len(key) + ENTRY_BYTES

    def clear(self) -> None:
        """Something was erased: all of it is looked up again."""
        self._known.clear()
        self._bytes = 0


def _key(nodes: Sequence[Node]) -> bytes:
    return b"".join([node.value_hash for node in nodes])
