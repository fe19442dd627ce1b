"""Why somebody entered or left a segment."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from services.profile.domain.expressions.tree import EVERY_FIELD
from services.profile.domain.happening import said
from services.profile.domain.membership import Move, looks_at
from services.profile.domain.rules import Rules
from services.profile.domain.segments import Condition
from services.profile.domain.state import Held, State
from services.profile.tables.memberships import Change
from shared.events import customer as events
from shared.log import Record

RULES: Final = "rules"
TIME: Final = "time"
DECIDED: Final = "consent"
_TELLING: Final = {events.MERGED.id: "merge", events.SPLIT.id: "split", events.ERASED.id: "erased"}


class Cause(msgspec.Struct, frozen=True):
    """`alone`: nothing else can have changed anything, so far as is known from what was read for it.

    `among`: of what happened together each, the newest first. `otherwise` is the cause where none of those says anything that is looked at.
    """

    kind: str
    valid_at: int
    event_type: str = ""
    event_id: bytes = b""
    alone: bool = False
    among: tuple["Cause", ...] = ()
    otherwise: "Cause | None" = None


def new_ones(newest: Sequence[Record], changed: int, followed: int) -> Sequence[Record]:
    """Of the newest events of a stream, in their order, those that nobody had looked at: what stands from `followed` on, and as many as
    `changed` before that. A state is of the moment at which it is loaded, and may have more in it than was followed by then."""
    ahead = sum(1 for record in newest if record.pos >= followed)
    return newest[max(0, len(newest) - ahead - changed) :]


def cause_of(records: Sequence[Record]) -> Cause:
    """The newest of a customer's events that were new; of those one that says who is one, if there is any."""
    activities = [record for record in records if record.entry.type_id in events.ACTIVITY_IDS]
    telling = [record for record in records if record.entry.type_id in _TELLING]
    newest_first = sorted(telling or activities or records, key=_place, reverse=True)
    among = [
        Cause(_TELLING.get(r.entry.type_id, "event"), r.entry.occurred_at, r.entry.kind, r.entry.event_id) for r in newest_first
    ]
    if telling:
        return among[0]
    return msgspec.structs.replace(among[0], alone=len(activities) == 1, among=tuple(among))


def because(cause: Cause, segment: str, rules: Rules, cluster: Mapping[bytes, Held]) -> Cause:
    """Of what happened together the newest by which what the segment looks at is as it is; where that isn't kept, the newest."""
    condition = None if rules.segments is None else rules.segments.conditions.get(segment)
    if condition is None or (len(cause.among) < 2 and cause.otherwise is None):
        return cause
    kept = _looked_at({member: one.state for member, one in cluster.items()}, condition)
    return next((one for one in cause.among if one.event_id in kept), cause.otherwise or cause)


def _looked_at(states: Mapping[bytes, State], condition: Condition) -> set[bytes]:
    """Ids of the events that say what the condition looks at, as far as they are kept."""
    names = looks_at(condition) - condition.uses
    if EVERY_FIELD in names:
        names = frozenset(name for one in states.values() for name in (*one.traits, *one.assertions, *one.removals))
    counted = (one.computed[name] for one in states.values() for name in condition.uses & one.computed.keys())
    found = {event_id for kept in counted for _, event_id, _ in kept.occurrences}
    return found | {event_id for name in names for _, event_id, _ in said(states, name)}


def _place(record: Record) -> tuple[int, int, int]:
    return record.recorded_at, record.partition, record.pos


def begins_with(cause: Cause, cluster: Mapping[bytes, Held], followed: Mapping[bytes, int], timeless: bool) -> bool:
    """Whether membership was as it is written until the cause, by all that is known now too; so that nothing before it has to be read.

    So it is if nothing came after the positions up to which the customer's streams were `followed`, and nothing happened later. What
    was written is of the last look: at other instants before an event it was the same only if the segments are `timeless`.
    """
    if not cause.alone or any(one.pos >= followed.get(stream, 0) for stream, one in cluster.items()):
        return False
    last = max(one.state.last_seen_at for one in cluster.values())
    return last < cause.valid_at if cause.kind == TIME else timeless and last <= cause.valid_at


def change_of(move: Move, cause: Cause, valid_at: int, rules_version: int) -> Change:
    """Recorded at is when it is written."""
    return Change(
        segment=move.segment,
        customer=move.customer,
        entered=move.entered,
        rules_version=rules_version,
        valid_at=valid_at,
        cause=cause.kind,
        event_type=cause.event_type,
        event_id=cause.event_id,
    )
