"""Adds records of the log to what is known of their streams."""

from collections.abc import Sequence

from services.profile.domain.fold import Step, evolve_all, is_timeless
from services.profile.domain.rules import Keeping
from services.profile.tables.snapshots import NEVER, Past
from shared.log import Record
from shared.privacy import REDACTED
from shared.vault import DataKey


def add(past: Past, records: Sequence[Record], key: DataKey | None, keeping: Keeping) -> None:
    """Of one stream. Together they cost less than one by one. Raises EnvelopeBroken."""
    evolve_all((_step(past, record, key) for record in records), past.held.state, keeping)
    past.held.version += len(records)


def _step(past: Past, record: Record, key: DataKey | None) -> Step:
    entry, held = record.entry, past.held
    public, personal = entry.parts(key)
    held.pos = max(record.pos, held.pos)  # the first of them may be joined from stretches
    past.redacted += personal is REDACTED
    if entry.occurred_at > past.latest_at and not is_timeless(entry):
        past.latest_at = entry.occurred_at
    return record.version, entry, public, personal


def happened_at(record: Record) -> int:
    """Of what is timeless before everything."""
    return NEVER if is_timeless(record.entry) else record.entry.occurred_at
