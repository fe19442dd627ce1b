"""An erasure as a fold of its events, and what may be asked for. Pure."""

from typing import Literal

import msgspec

from shared.errors import InvalidInput
from shared.events.catalogue import Public
from shared.events.erasure import (
    ErasureBegun,
    ErasureCompleted,
    ErasureQueued,
    ErasureRequested,
    KeysDestroyed,
    Policy,
    Purge,
    ReimportRefused,
    StoresPurged,
)
from shared.request_ids import check_request_id

MAX_REASON = 200  # characters: a ground and a ticket, not a letter
MAX_NAME = 100  # characters

Stage = Literal["requested", "queued", "begun", "keys_destroyed", "purged", "completed"]


class EraseCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """`customer` is any member, or empty: then `identifier` is the keyed hash of one that names nobody. Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, REASON_INVALID, NAME_INVALID)."""

    request_id: str
    customer: bytes
    policy: Policy
    reason: str
    requested_by: str
    identifier: bytes = b""

    def __post_init__(self) -> None:
        check_request(self.request_id, self.reason, self.requested_by)


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """`version` counts its events; instants are when they were recorded. `customer` or `identifier` is what was named."""

    erasure_id: bytes
    request_id: str
    customer: bytes
    policy: Policy
    reason: str
    requested_by: str
    requested_at: int
    identifier: bytes = b""
    version: int = 1
    stage: Stage = "requested"
    holds: tuple[bytes, ...] = ()
    begun_at: int = 0
    streams: tuple[bytes, ...] = ()
    identifiers: int = 0
    records: int = 0
    leftovers: tuple[bytes, ...] = ()
    proposed: tuple[bytes, ...] = ()
    unit: int = -1
    keys: int = 0
    keys_destroyed_at: int = 0
    purges: tuple[Purge, ...] = ()
    kept: dict[str, int] = {}
    epoch_keys_until: int = 0
    quarantine_keys_until: int = 0
    certificate: str = ""
    completed_at: int = 0
    refused: int = 0

    @property
    def canonical(self) -> bytes:
        """The oldest of those that were erased; before it has begun the one that was named. Empty when there is none."""
        return self.streams[0] if self.streams else self.customer

    def says_the_same(self, command: EraseCustomer) -> bool:
        mine = (self.policy, self.reason, self.requested_by)
        same_person = command.customer in (self.customer, *self.streams) and command.identifier == self.identifier
        return same_person and mine == (command.policy, command.reason, command.requested_by)


def requested(erasure_id: bytes, event: ErasureRequested, at: int) -> Erasure:
    return Erasure(
        erasure_id=erasure_id,
        request_id=event.request_id,
        customer=event.customer,
        policy=event.policy,
        reason=event.reason,
        requested_by=event.requested_by,
        requested_at=at,
        identifier=event.identifier,
    )


def evolve(erasure: Erasure, event: Public, at: int) -> Erasure:
    """`at` is when the event was recorded."""
    counted = msgspec.structs.replace(erasure, version=erasure.version + 1)
    match event:
        case ErasureQueued():
            return msgspec.structs.replace(counted, stage="queued", holds=event.holds)
        case ErasureBegun():
            return msgspec.structs.replace(counted, stage="begun", begun_at=at, **msgspec.structs.asdict(event))
        case KeysDestroyed():
            return msgspec.structs.replace(counted, stage="keys_destroyed", keys=event.keys, keys_destroyed_at=at)
        case StoresPurged():
            until = {"epoch_keys_until": event.epoch_keys_until, "quarantine_keys_until": event.quarantine_keys_until}
            return msgspec.structs.replace(counted, stage="purged", purges=event.purges, kept=event.kept, **until)
        case ErasureCompleted():
            return msgspec.structs.replace(counted, stage="completed", certificate=event.certificate, completed_at=at)
        case ReimportRefused():
            return msgspec.structs.replace(counted, refused=erasure.refused + event.events)
    raise AssertionError(type(event).__name__)


def check_request(request_id: str, reason: str, name: str) -> None:
    check_request_id(request_id)
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidInput(f"a reason is 1 to {MAX_REASON} printable characters", reason="REASON_INVALID")
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"who asks is at most {MAX_NAME} printable characters", reason="NAME_INVALID")
