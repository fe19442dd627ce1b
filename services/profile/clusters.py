"""Customers and all that merges join to them: who belongs together, and what has to hold before anything of them is shown."""

from collections.abc import Awaitable, Callable, Collection, Mapping

from services.profile.domain.state import Held, linked, reachable
from services.profile.enforcement import require_permission, require_unrestricted
from shared.errors import NotFound, WrongState
from shared.events.consent import DecisionRecorded, PurposeDefined, outlives_parting
from shared.identifiers import Identifier
from shared.ids import to_text

Load = Callable[[Collection[bytes]], Awaitable[dict[bytes, Held]]]  # states of streams; those that have no event are absent


async def joined(customers: Collection[bytes], load: Load) -> dict[bytes, Held]:
    """These customers and all that merges join to them, each ring of them loaded at once."""
    found = await load(customers)
    held = dict(found)
    # None found: the other side of a merge is in a unit that isn't applied yet.
    while found and (missing := reachable(h.state for h in found.values()) - held.keys()):
        found = await load(missing)
        held |= found
    return held


def oldest_first(held: Mapping[bytes, Held]) -> list[bytes]:
    """The first is canonical."""
    return sorted(held, key=lambda stream: (held[stream].state.founding_number, stream))


def require_readable(customer: bytes, held: Mapping[bytes, Held], purpose: PurposeDefined) -> None:
    """Raises WrongState (CUSTOMER_ERASED), NotPermitted (RESTRICTED)."""
    if any(h.state.erased for h in held.values()):
        raise WrongState("this customer was erased", reason="CUSTOMER_ERASED", customer_id=to_text(customer))
    require_unrestricted(any(h.state.restricted for h in held.values()), purpose)


def bound_hashes(held: Mapping[bytes, Held]) -> dict[bytes, bool]:
    """Of the identifiers that decisions about these customers are bound to: whether they are theirs still, or parted from them."""
    parted = {bound: False for h in held.values() for bound in h.state.parted}
    return parted | {bound: True for h in held.values() for bound in linked(h.state)}


def require_decided(purpose: PurposeDefined, hashes: Mapping[bytes, bool], found: Mapping[bytes, list[DecisionRecorded]]) -> None:
    """Raises NotPermitted."""
    decided = ((decision, theirs) for bound, theirs in hashes.items() for decision in found[bound])
    require_permission(purpose, [d for d, theirs in decided if d.purpose == purpose.name and (theirs or outlives_parting(d))])


def unknown(customer: bytes) -> NotFound:
    return NotFound("no customer had this id then", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))


def unknown_identifier(identifier: Identifier) -> NotFound:
    return NotFound("no customer has this identifier", reason="IDENTIFIER_UNKNOWN", namespace=identifier.namespace)


def nothing_yet(customer: bytes) -> NotFound:
    return NotFound("nothing had happened to this customer by then", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))
