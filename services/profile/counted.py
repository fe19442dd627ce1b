"""What a recorded unit is in the metrics; of each, how long it took from the door until reads show what was taken first."""

from collections.abc import Sequence

import msgspec

from shared.events.catalogue import Entry
from shared.events.customer import ACTIVITY_IDS
from shared.instants import SECOND, now_us
from shared.telemetry import EVENTS_APPLIED, EVENTS_PARKED, FRESHNESS_SECONDS, UNIT_EVENTS


def recorded(entries: Sequence[Entry], applied: int, parked: int) -> None:
    """Just now."""
    UNIT_EVENTS.labels("profile").observe(len(entries))
    EVENTS_APPLIED.labels("profile").inc(applied)
    EVENTS_PARKED.labels("profile").inc(parked)
    _note_freshness(entries, now_us())


def _note_freshness(entries: Sequence[Entry], now: int) -> None:
    """Events of a unit come in order, so one of them is read for it. What can't be read is parked, and told elsewhere."""
    first = next((entry for entry in entries if entry.type_id in ACTIVITY_IDS), None)
    if first is None:
        return
    try:
        FRESHNESS_SECONDS.observe(max(0, now - first.public().received_at) / SECOND)
    except msgspec.DecodeError:
        return
