"""What answers disclose, by the names of their fields; and who calls."""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1.disclosure_pb2 import Verdict

from services.profile.app import NOW, Instant
from services.profile.disclosed import Shown
from services.profile.disclosing import Call, Disclosing
from services.profile.domain.state import LinkedIdentifier
from services.profile.profile import Profile
from services.profile.ready import Ready, ReadyAnswers
from services.profile.timelines import Stretch
from shared.rpc.callers import caller_of, request_id_of


def call_of(name: str, context: Any) -> Call:
    return Call(name, caller_of(context), request_id_of(context))


def shown_of(message: pb.Profile, profile: Profile, instant: Instant = NOW, tag: str = "") -> Shown:
    """Of a profile as it is sent."""
    return Shown(
        members=profile.record.members,
        fields={*message.traits, *(f"identifier:{one.namespace}" for one in message.identifiers)},
        withheld=[(one.field, one.reason) for one in message.withheld],
        positions=profile.positions,
        rules_version=profile.rules.version,
        instant=instant,
        tag=tag,
    )


def verdict_of(message: pb.Profile) -> Verdict.ValueType:
    return Verdict.VERDICT_PARTIAL if message.withheld else Verdict.VERDICT_PERMIT


def of_identifiers(shown: Iterable[LinkedIdentifier], profile: Profile, instant: Instant) -> Shown:
    fields = {f"identifier:{linked.namespace}" for linked in shown}
    return Shown(members=profile.record.members, fields=fields, positions=profile.positions, instant=instant)


def of_timeline(customer: bytes, stretch: Stretch, entries: Sequence[pb.TimelineEntry], instant: Instant) -> Shown:
    """Of a page: whoever something on it is about, and the names of what is told of each event."""
    records = [item.record for item in stretch.items[: len(entries)]]
    positions: dict[int, int] = {}
    for record in records:
        positions[record.partition] = max(record.pos, positions.get(record.partition, -1))
    return Shown(
        members=[customer, *sorted({record.entry.stream for record in records} - {customer})],
        fields={"events", *(f"event:{name}" for entry in entries for name in entry.details.fields)},
        positions=positions,
        instant=instant,
    )


class ReadyReads:
    """Answers that are ready, given out once that is written down."""

    def __init__(self, ready: ReadyAnswers, disclosing: Disclosing, call: str) -> None:
        self._ready = ready
        self._disclosing = disclosing
        self._call = call

    def find(self, request: bytes, context: Any) -> Awaitable[bytes | None] | None:
        ready = self._ready.find(request)
        return None if ready is None else self._given_out(request, ready, context)

    async def _given_out(self, request: bytes, ready: Ready, context: Any) -> bytes | None:
        """None: something changed while it was written down."""
        assert ready.given is not None, "what is kept to be answered says what it discloses"
        await self._disclosing.one(ready.given, call_of(self._call, context))
        return ready.answer if self._ready.find(request) is ready else None
