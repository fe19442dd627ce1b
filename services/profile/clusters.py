"""Customers and all that merges join to them: who belongs together, and what has to hold before anything of them is shown."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from services.profile.domain.clocks import Instant
from services.profile.domain.golden import GoldenRecord, without_computed
from services.profile.domain.lineage import ever_reachable
from services.profile.domain.rules import Rules
from services.profile.domain.state import Held, State, certainly_linked, certainly_reachable, linked, reachable
from services.profile.enforcement import require_unrestricted
from services.profile.reading import stood
from services.profile.tables.snapshots import NEVER, Past
from shared.consent_overlays import bears_on
from shared.consent_rule import Bond, Case
from shared.cores import cores
from shared.errors import NotFound, WrongState
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.identifiers import Identifier
from shared.ids import to_text


class Cluster(msgspec.Struct, frozen=True):
    """The customers that were one at an instant, each as it was then, folded for some rules."""

    instant: Instant
    rules: Rules
    past: Mapping[bytes, Past]

    @property
    def redacted(self) -> int:
        """Events that count and whose personal part is gone."""
        return sum(one.redacted for one in self.past.values())

    def told(self, record: GoldenRecord) -> GoldenRecord:
        """Of what was computed nothing, where some of what it was computed from may be gone."""
        return without_computed(record, self.rules) if self.redacted else record

    def held(self, customer: bytes) -> dict[bytes, Held]:
        """By stream. Raises NotFound (CUSTOMER_UNKNOWN): nothing had happened by then."""
        if all(one.latest_at == NEVER for one in self.past.values()):
            raise nothing_yet(customer)
        return {stream: one.held for stream, one in self.past.items()}


RINGS_ONE_BY_ONE: Final = 4  # of those who are one; whoever is merged further off than that is at the end of a chain
AHEAD_AT_MOST: Final = 2_000  # streams that are loaded at once though they may not be asked for

Load = Callable[[Collection[bytes]], Awaitable[dict[bytes, Held]]]  # states of streams; those that have no event are absent
Along = Callable[[Iterable[State]], set[bytes]]  # where their edges lead


async def joined(customers: Collection[bytes], load: Load, near: Load | None = None, along: Along = reachable) -> dict[bytes, Held]:
    """These customers and all that merges join to them, each ring of them loaded at once.

    `near` gives states as they are now, most of which are at hand: by them the rest of a long chain is found, and loaded at once. Whom
    it leads to that isn't one with these isn't among what is given.
    """
    loaded = dict(await load(customers))
    held, found, asked, rings = dict(loaded), dict(loaded), set(customers), 1
    # None found: the other side of a merge is in a unit that isn't applied yet.
    # (`- held.keys()` would go through all of them for each ring.)
    while found and (missing := {one for one in along(h.state for h in found.values()) if one not in held}):
        if wanted := missing - asked:
            wanted = wanted if near is None or rings < RINGS_ONE_BY_ONE else await ahead_of(wanted, near) - asked
            loaded |= await load(wanted)
            asked |= wanted
            rings += 1
        found = {stream: loaded[stream] for stream in missing & loaded.keys()}
        held |= found
    return held


async def ahead_of(streams: Collection[bytes], near: Load) -> set[bytes]:
    """These, and about AHEAD_AT_MOST of those who were ever one with any of them, the nearest first."""
    found, ring = set(streams), set(streams)
    while ring and len(found) < AHEAD_AT_MOST:
        ring = ever_reachable(h.state for h in (await near(ring)).values()) - found
        found |= ring
    return found


def cluster_of(customer: bytes, held: Mapping[bytes, Held]) -> dict[bytes, Held]:
    """Of these, the customer and whoever merges join to it; empty when it isn't among them."""
    cluster: dict[bytes, Held] = {}
    ring: Sequence[bytes] | set[bytes] = [customer]
    while found := {stream: held[stream] for stream in ring if stream in held and stream not in cluster}:
        cluster |= found
        ring = reachable(h.state for h in found.values())
    return cluster


def oldest_first(held: Mapping[bytes, Held]) -> list[bytes]:
    """The first is canonical."""
    return sorted(held, key=lambda stream: (held[stream].state.founding_number, stream))


def require_readable(customer: bytes, held: Mapping[bytes, Held], purpose: PurposeDefined) -> None:
    """Raises WrongState (CUSTOMER_ERASED), NotPermitted (HELD)."""
    stood({stream: h.pos for stream, h in held.items()})
    if any(h.state.erased for h in held.values()):
        raise WrongState("this customer was erased", reason="CUSTOMER_ERASED", customer_id=to_text(customer))
    require_unrestricted(any(h.state.restricted for h in held.values()), purpose)


def bonds_of(held: Mapping[bytes, Held]) -> dict[bytes, Bond]:
    """How the identifiers that decisions about these customers are bound to are theirs, by hash."""
    core = cores_of(held)
    parted = {bound: Bond(theirs=False, core=core[stream]) for stream, h in held.items() for bound in h.state.parted}
    bonds = parted | {bound: Bond(core=core[stream]) for stream, h in held.items() for bound in linked(h.state)}
    for h in held.values():
        if h.state.likely:
            bonds |= {bound: Bond(core=bound) for bound in linked(h.state).keys() - certainly_linked(h.state)}
    return bonds


def cores_of(held: Mapping[bytes, Held]) -> dict[bytes, bytes]:
    """By stream; nearly always there is one."""
    if not any(h.state.likely for h in held.values()):
        return dict.fromkeys(held, b"")
    return cores(held, ((stream, other) for stream, h in held.items() for other in certainly_reachable(h.state)))


def case_of(
    purpose: PurposeDefined, bonds: Mapping[bytes, Bond], found: Mapping[bytes, Sequence[DecisionRecorded]], now: int
) -> Case:
    decided = [decision for bound in bonds for decision in found.get(bound, ()) if bears_on(decision, purpose)]
    return Case(purpose, decided, now, bonds)


def unknown(customer: bytes) -> NotFound:
    return NotFound("no customer had this id then", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))


def unknown_identifier(identifier: Identifier) -> NotFound:
    return NotFound("no customer has this identifier", reason="IDENTIFIER_UNKNOWN", namespace=identifier.namespace)


def nothing_yet(customer: bytes) -> NotFound:
    return NotFound("nothing had happened to this customer by then", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))
