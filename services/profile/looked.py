"""How far the looks that were written had seen each stream: whoever follows the log needs no look for what came before.

States are ahead of whoever follows. After a burst the first look at a customer has seen all of it, and each further page with an event
of hers would ask for another look that finds nothing: a look an event and not a customer.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.profile.standings import Seen
from services.profile.tables.memberships import Place

REMEMBERED: Final = 100_000  # streams, some 150 bytes each; then they are looked at once more


class LookedAt:
    def __init__(self) -> None:
        self._after: tuple[Any, ...] = ()
        self._seen_to: dict[bytes, int] = {}

    def go_on_from(self, place: Place, heads: Mapping[int, int]) -> None:
        """Forgets all, when that isn't where it came to: somebody else wrote, the rules are others, or the views are made anew."""
        if self._after != (place.rules_version, place.making, heads):
            self._seen_to = {}

    def has_seen(self, stream: bytes, pos: int) -> bool:
        return pos <= self._seen_to.get(stream, -1)

    def remember(self, seen: Seen, place: Place, heads: Mapping[int, int]) -> None:
        """After it was written, and up to where the log is followed with it."""
        if len(self._seen_to) > REMEMBERED:
            self._seen_to = {}
        self._seen_to |= {member: one.pos for cluster in seen.clusters.values() for member, one in cluster.items()}
        self._after = place.rules_version, place.making, heads
