"""Why somebody entered or left a segment."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from services.profile.domain.membership import Move
from services.profile.domain.state import Held
from services.profile.tables.memberships import Change
from shared.events import customer as events
from shared.log import Record

RULES: Final = "rules"
TIME: Final = "time"
_TELLING: Final = {events.MERGED.id: "merge", events.SPLIT.id: "split", events.ERASED.id: "erased"}


class Cause(msgspec.Struct, frozen=True):
    """`alone`: nothing else can have changed anything, so far as is known from what was read for it."""

    kind: str
    valid_at: int
    event_type: str = ""
    event_id: bytes = b""
    alone: bool = False


def cause_of(records: Sequence[Record]) -> Cause:
    """The newest of a customer's events that were new; of those one that says who is one, if there is any."""
    activities = [record for record in records if record.entry.type_id in events.ACTIVITY_IDS]
    telling = [record for record in records if record.entry.type_id in _TELLING]
    newest = max(telling or activities or records, key=lambda record: (record.recorded_at, record.partition, record.pos))
    entry, alone = newest.entry, not telling and len(activities) == 1
    return Cause(_TELLING.get(entry.type_id, "event"), entry.occurred_at, entry.kind, entry.event_id, alone)


def begins_with(cause: Cause, cluster: Mapping[bytes, Held], followed: Mapping[bytes, int], timeless: bool) -> bool:
    """Whether membership was as it is written until the cause, by all that is known now too; so that nothing before it has to be read.

    So it is if nothing came after the positions up to which the customer's streams were `followed`, and nothing happened later. What
    was written is of the last look: at other instants before an event it was the same only if the segments are `timeless`.
    """
    if not cause.alone or any(one.pos >= followed.get(stream, 0) for stream, one in cluster.items()):
        return False
    last = max(one.state.last_seen_at for one in cluster.values())
    return last < cause.valid_at if cause.kind == TIME else timeless and last <= cause.valid_at


def change_of(move: Move, cause: Cause, valid_at: int, rules_version: int, now: int) -> Change:
    return Change(
        segment=move.segment,
        customer=move.customer,
        entered=move.entered,
        rules_version=rules_version,
        valid_at=valid_at,
        recorded_at=now,
        cause=cause.kind,
        event_type=cause.event_type,
        event_id=cause.event_id,
    )
