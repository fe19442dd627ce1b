"""What identity publishes: customers, what links them, and what they did. A stream is one customer, for ever."""

from typing import Any, Literal

from shared.events.catalogue import CATALOGUE, GraphFact, PermissionFact, Public, register
from shared.events.erasure import Policy
from shared.privacy import Personal

OWNER = "identity"
FOLLOWERS = ("profile", "consent", "ingest")
# Withdrawn: what it rested on is gone, or the two became one in another way.
ProposalEnd = Literal["accepted", "declined", "expired", "withdrawn"]


class CustomerFounded(GraphFact, frozen=True, kw_only=True):
    """An identifier was seen that belonged to nobody."""

    founding_number: int  # unique and rising: the smaller, the older


class IdentifierLinked(GraphFact, frozen=True, kw_only=True):
    """An identifier belongs to this customer, until this event is taken back by its id; by what happened, from the first event on
    that names it, whichever was the first to come."""

    namespace: str
    value_hash: bytes
    cause: bytes  # id of the event whose identifiers linked it, or of the decision
    likely: bool = (
        False  # nothing but a match joined it to the customer's first identifier; not said any more: there a merge stands
    )


class LinkedValue(Personal, frozen=True, kw_only=True):
    """The identifier itself; the public part has its keyed hash."""

    value: str  # normalised


class IdentifierUnlinked(GraphFact, frozen=True, kw_only=True):
    """Takes an IdentifierLinked of this stream back."""

    link_id: bytes  # id of that event
    value_hash: bytes
    cause: bytes
    shared: bool = False  # it turned out to be of several people: it is nobody's, and what was forbidden by it still holds here


class CustomersMerged(GraphFact, frozen=True, kw_only=True):
    """An edge between this stream's customer and another; written to both streams, nothing moves."""

    merge_id: bytes
    other: bytes
    other_founding_number: int
    cause: bytes  # id of the event or decision that made it so
    match_weight: float | None = None  # bits, of the weakest match in the chain that joins them
    match_model: str | None = None  # digest of the model that weighed it; none without a match
    likely: bool = False  # nothing but a match joined the two: what one of them grants isn't granted by the other
    chain: tuple[str, ...] = ()  # namespaces of the identifiers that join the two, one after the other


class CustomersSplit(GraphFact, frozen=True, kw_only=True):
    """Takes the edge of a merge away; written to both streams. Each side is as if never merged."""

    merge_id: bytes
    other: bytes
    cause: bytes  # id of the event or decision that made it so; empty when an erasure did
    shared_hashes: tuple[bytes, ...] = ()  # of what they had in common and turned out to be of several people, as above


class MergeProposed(Public, frozen=True, kw_only=True):
    """A merge that was not made, for a person to decide. Told again, with its id, when something else speaks for it: the last counts."""

    proposal_id: bytes
    other: bytes
    reason: str
    cause: bytes
    match_weight: float | None = None  # bits, of a match
    doubts: tuple[str, ...] = ()  # why a match isn't certain, in identity's words
    value_hash: bytes = b""  # of which identifier of this stream's customer it is asked; whoever accepts it joins that one's


class ProposalClosed(Public, frozen=True, kw_only=True):
    """A MergeProposed is not for anybody to decide any more; written to both streams."""

    proposal_id: bytes
    other: bytes
    state: ProposalEnd
    decision_id: bytes = b""  # what it was accepted or declined by
    cause: bytes = b""  # id of the event, decision or version of the rules that closed it; none where time or an erasure did


class MergeDecided(Public, frozen=True, kw_only=True):
    """Somebody decided that this stream's customer and another are one; written to both streams, before what follows."""

    decision_id: bytes
    other: bytes
    value_hash: bytes  # of the identifier that stands for this customer in the decision
    other_value_hash: bytes
    decided_by: str
    reason: str  # in the clear


class MergeForbidden(Public, frozen=True, kw_only=True):
    """Somebody decided that this stream's customer and another are two: never to be one, or to be split when they are."""

    decision_id: bytes
    other: bytes
    value_hash: bytes
    other_value_hash: bytes
    decided_by: str
    reason: str  # in the clear


class DecisionWithdrawn(Public, frozen=True, kw_only=True):
    """Takes a MergeDecided or a MergeForbidden of this stream back, as if it had never been."""

    decision_id: bytes
    other: bytes
    withdrawn_by: str
    reason: str  # in the clear


class CustomerRestricted(PermissionFact, frozen=True, kw_only=True):
    """The person asked to be erased and a legal hold forbids it for now: stored, but not read for ordinary purposes."""

    erasure_id: bytes


class CustomerErased(GraphFact, frozen=True, kw_only=True):
    """The last event of a stream. What was sealed before it is unreadable for ever."""

    erasure_id: bytes
    policy: Policy  # what is done with events that name these identifiers again
    identifier_hashes: tuple[bytes, ...]


class Activity(Public, frozen=True, kw_only=True):
    """What every event of a source carries, besides when it happened."""

    source: str
    resolved_by: bytes  # hash of the identifier it came here through
    also_named: tuple[bytes, ...] = ()  # hashes of the other identifiers that it names
    original_at: int | None = None  # the client's clock
    sent_at: int | None = None  # the client's clock, when it sent
    received_at: int  # our clock
    flags: list[str] = []  # what is doubtful or odd about it, as public words such as "CLOCK_FAR_PAST"

    def names(self, value_hash: bytes) -> bool:
        return value_hash == self.resolved_by or value_hash in self.also_named


class Identified(Personal, frozen=True, kw_only=True):
    """A source sent traits of the customer; null removes one."""

    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}
    raw: dict[str, Any] = {}  # canonical name: {"field", "value"} as the source sent them, where they differ
    extra: dict[str, Any] = {}  # what else the call had at its top


class Tracked(Personal, frozen=True, kw_only=True):
    """The customer did something that has a name."""

    name: str
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}
    raw: dict[str, Any] = {}  # canonical name: {"field", "value"} as the source sent them, where they differ
    extra: dict[str, Any] = {}  # what else the call had at its top


class Viewed(Personal, frozen=True, kw_only=True):
    """The customer looked at a page or a screen."""

    name: str = ""
    category: str = ""
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}
    raw: dict[str, Any] = {}  # canonical name: {"field", "value"} as the source sent them, where they differ
    extra: dict[str, Any] = {}  # what else the call had at its top


class Grouped(Personal, frozen=True, kw_only=True):
    """The customer belongs to a group, such as a company."""

    group_id: str
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}
    raw: dict[str, Any] = {}  # canonical name: {"field", "value"} as the source sent them, where they differ
    extra: dict[str, Any] = {}  # what else the call had at its top


class Aliased(Personal, frozen=True, kw_only=True):
    """A source says that two of its ids are one person."""

    previous_id: str
    context: dict[str, Any] = {}
    extra: dict[str, Any] = {}  # what else the call had at its top


# Timeless: that two customers are one person was always so, whenever we learned it, and so were they there; and that an
# identifier is theirs, which is of use from the first event on that names it.
FOUNDED = register("customer.founded", 1, CustomerFounded, timeless=True)
LINKED = register("customer.linked", 1, IdentifierLinked, LinkedValue, timeless=True)
UNLINKED = register("customer.unlinked", 1, IdentifierUnlinked, timeless=True)
MERGED = register("customer.merged", 1, CustomersMerged, timeless=True)
SPLIT = register("customer.split", 1, CustomersSplit, timeless=True)
MERGE_PROPOSED = register("customer.merge_proposed", 1, MergeProposed, timeless=True)
PROPOSAL_CLOSED = register("customer.proposal_closed", 1, ProposalClosed, timeless=True)
MERGE_DECIDED = register("customer.merge_decided", 1, MergeDecided, timeless=True)
MERGE_FORBIDDEN = register("customer.merge_forbidden", 1, MergeForbidden, timeless=True)
DECISION_WITHDRAWN = register("customer.decision_withdrawn", 1, DecisionWithdrawn, timeless=True)
RESTRICTED = register("customer.restricted", 1, CustomerRestricted, timeless=True)
ERASED = register("customer.erased", 1, CustomerErased, timeless=False)
IDENTIFIED = register("customer.identified", 1, Activity, Identified, call="identify", timeless=False)
TRACKED = register("customer.tracked", 1, Activity, Tracked, call="track", timeless=False)
PAGE_VIEWED = register("customer.page_viewed", 1, Activity, Viewed, call="page", timeless=False)
SCREEN_VIEWED = register("customer.screen_viewed", 1, Activity, Viewed, call="screen", timeless=False)
GROUPED = register("customer.grouped", 1, Activity, Grouped, call="group", timeless=False)
ALIASED = register("customer.aliased", 1, Activity, Aliased, call="alias", timeless=False)

TYPES = tuple(kind for kind in CATALOGUE.values() if kind.id.startswith("customer."))  # all that a customer's stream holds
TIMELESS_IDS = frozenset(kind.id for kind in TYPES if kind.timeless)
TIMED_IDS = frozenset(kind.id for kind in TYPES if not kind.timeless)
ACTIVITIES = {kind.call: kind for kind in TYPES if kind.call}
ACTIVITY_IDS = frozenset(kind.id for kind in ACTIVITIES.values())
