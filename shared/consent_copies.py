"""Tells what a copy of consent's log holds by hashes, so that whoever has the log finds out whether the copy is true without being shown it."""

import hashlib

from shared.events.catalogue import encode
from shared.events.consent import DecisionRecorded, PurposeDefined

RECORDED_BYTES = 8


def copy_hash(event: PurposeDefined | DecisionRecorded, recorded_at: int) -> bytes:
    """SHA-256 of when it was recorded, in microseconds and 8 bytes, and of its public part in the newest form."""
    if isinstance(event, DecisionRecorded):
        event = as_recorded(event)
    return hashlib.sha256(recorded_at.to_bytes(RECORDED_BYTES) + encode(event)).digest()


def purpose_hash(purpose: PurposeDefined) -> bytes:
    """No copy has when a version was recorded: `in_force_at` is a part of it."""
    return copy_hash(purpose, 0)


def as_recorded(decision: DecisionRecorded) -> DecisionRecorded:
    """Without what a copy knows of it besides."""
    return DecisionRecorded(**{name: getattr(decision, name) for name in DecisionRecorded.__struct_fields__})
