"""How far what is written of memberships is behind what can be read of customers: by the log, and by the clock."""

from collections.abc import Sequence
from typing import Any

import msgspec

from services.profile.domain.rules import Rules
from services.profile.following import CONSENT, looked_at, partition_name
from services.profile.tables.due import soonest_due
from shared.instants import SECOND
from shared.positions import Progress
from shared.telemetry import SEGMENTS_BEHIND_EVENTS, SEGMENTS_BEHIND_SECONDS


class Lag(msgspec.Struct, frozen=True):
    """`events` and decisions that are applied were not followed yet; `since` the first of these was recorded, or somebody is due by time.
    Decisions tell no `since`, which is 0 where there is none."""

    events: int
    since: int = 0


async def lag_of(pool: Any, progress: Progress, rules: Rules, partitions: int, now: int) -> Lag | None:
    """None when nothing is behind."""
    if rules.segments is None:
        return None
    names = [partition_name(partition) for partition in range(partitions)]
    applied = {name: progress.applied(name) for name in (*names, *([CONSENT] if rules.verifying else []))}
    events = {name: last - progress.applied(looked_at(name)) for name, last in applied.items()}
    firsts = [(partition, progress.applied(looked_at(name)) + 1) for partition, name in enumerate(names) if events[name] > 0]
    due = await soonest_due(pool)
    instants = ([due] if due is not None and due <= now else []) + await _recorded(pool, firsts)
    behind = sum(number for number in events.values() if number > 0)
    return Lag(behind, min(instants, default=0)) if behind or instants else None


async def _recorded(pool: Any, places: Sequence[tuple[int, int]]) -> list[int]:
    """When what stands at these places, (partition, position), was recorded."""
    if not places:
        return []
    rows = await pool.fetch(
        "SELECT recorded_at FROM unnest($1::int4[], $2::int8[]) AS wanted (p, n) JOIN events ON partition = p AND pos = n",
        [partition for partition, _ in places],
        [pos for _, pos in places],
    )
    return [row["recorded_at"] for row in rows]


def show(lag: Lag | None, now: int) -> None:
    SEGMENTS_BEHIND_EVENTS.set(lag.events if lag else 0)
    SEGMENTS_BEHIND_SECONDS.set(max(0, now - lag.since) / SECOND if lag and lag.since else 0)
