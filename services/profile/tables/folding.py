"""Adds records of the log to what is known of their streams."""

from services.profile.domain.fold import evolve_to, is_timeless
from services.profile.domain.rules import Keeping
from services.profile.tables.snapshots import NEVER, Past
from shared.log import Record
from shared.privacy import REDACTED
from shared.vault import DataKey


def add(past: Past, record: Record, key: DataKey | None, keeping: Keeping) -> None:
    entry, held = record.entry, past.held
    public, personal = entry.parts(key)
    evolve_to(record.version, held.state, entry, public, personal, keeping)
    held.version += 1
    held.pos = max(record.pos, held.pos)  # the first of them may be joined from stretches
    past.redacted += personal is REDACTED
    if entry.occurred_at > past.latest_at and not is_timeless(entry):
        past.latest_at = entry.occurred_at


def happened_at(record: Record) -> int:
    """Of what is timeless before everything."""
    return NEVER if is_timeless(record.entry) else record.entry.occurred_at
