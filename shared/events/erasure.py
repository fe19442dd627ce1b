"""An erasure, step by step, and legal holds. They stand in identity's log, each in a stream of its own; nobody follows them.

What reaches the customer's own stream is in `shared/events/customer.py`. None of this is personal: customers are ids,
identifiers are keyed hashes, and who writes a reason is told to name nobody in it.
"""

from typing import Literal

from shared.events.catalogue import Public, register

OWNER = "identity"
FOLLOWERS: tuple[str, ...] = ()

Policy = Literal["refuse", "start_clean"]
# What an erasure may leave. The certificate names the ground of each, so a new word comes with its ground.
Remains = Literal[
    "log_headers",
    "consent_decisions",
    "suppressions",
    "parked_messages",
    "ingest_epoch_keys",
    "quarantine_leftovers",
    "broker_ciphertext",
    "vault_leftovers",
]


class ErasureRequested(Public, frozen=True, kw_only=True):
    """`customer` is the one that was named, whatever it is merged with; what it is one with at `begun` is erased.

    It is empty for who is in no profile yet; then `identifier`, a keyed hash, is what was named.
    """

    request_id: str
    customer: bytes
    policy: Policy
    reason: str
    requested_by: str
    identifier: bytes = b""


class ErasureQueued(Public, frozen=True, kw_only=True):
    """A legal hold forbids it for now."""

    holds: tuple[bytes, ...]


class ErasureBegun(Public, frozen=True, kw_only=True):
    """The customers are told apart from all others, their identifiers suppressed; there is no way back from here."""

    streams: tuple[bytes, ...]
    identifiers: int
    unit: int  # of CUSTOMER, that tells the other services
    records: int = 0  # what was kept of them to be compared
    leftovers: tuple[bytes, ...] = ()  # of the streams, those whose identifiers were only ever seen with hers
    proposed: tuple[bytes, ...] = ()  # customers that stay, and were proposed to be one with her


class KeysDestroyed(Public, frozen=True, kw_only=True):
    """`keys` counts the streams that have none from here on, also one whose key was gone before."""

    keys: int


class Purge(Public, frozen=True, kw_only=True):
    """What one store had to give up. `readable` counts the personal fields that could still be read afterwards."""

    store: str
    rows: int
    checked: int = 0
    readable: int = 0


class StoresPurged(Public, frozen=True, kw_only=True):
    purges: tuple[Purge, ...]
    kept: dict[str, int] = {}  # what remains, and how many; any word, because a newer release may have recorded it
    epoch_keys_until: int = 0  # when the last ingest epoch key that existed then will be destroyed
    quarantine_keys_until: int = 0  # and the last of the quarantine's days


class ErasureCompleted(Public, frozen=True, kw_only=True):
    certificate: str  # a signed note


class ReimportRefused(Public, frozen=True, kw_only=True):
    """Events about an erased person came again and were dropped."""

    events: int


class HoldPlaced(Public, frozen=True, kw_only=True):
    """`customer` was named; `members` is all that it was merged with then, which stays held after a split."""

    request_id: str
    customer: bytes
    reason: str
    placed_by: str
    members: tuple[bytes, ...] = ()


class HoldReleased(Public, frozen=True, kw_only=True):
    request_id: str
    released_by: str


REQUESTED = register("erasure.requested", 1, ErasureRequested)
QUEUED = register("erasure.queued", 1, ErasureQueued)
BEGUN = register("erasure.begun", 1, ErasureBegun)
KEYS_DESTROYED = register("erasure.keys_destroyed", 1, KeysDestroyed)
STORES_PURGED = register("erasure.stores_purged", 1, StoresPurged)
COMPLETED = register("erasure.completed", 1, ErasureCompleted)
REIMPORT_REFUSED = register("erasure.reimport_refused", 1, ReimportRefused)
HOLD_PLACED = register("hold.placed", 1, HoldPlaced)
HOLD_RELEASED = register("hold.released", 1, HoldReleased)
