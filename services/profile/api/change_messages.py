"""What changed in a profile as messages, as far as a purpose may see it."""

from collections.abc import Collection, Iterable, Iterator, Set
from typing import TypeVar

from c360.common.v1 import common_pb2
from c360.profile.v1 import history_pb2 as pb
from c360.profile.v1 import profile_pb2
from google.protobuf.message import Message

from services.profile.api.messages import trait_message
from services.profile.differences import Answered, Compared
from services.profile.domain.diff import (
    ByDecision,
    ByEvent,
    ByRules,
    ByTime,
    Cause,
    Change,
    ConsentChange,
    IdentifierChange,
    MemberChange,
    SegmentChange,
    TraitChange,
    Wanted,
)
from services.profile.domain.golden import GoldenTrait, computed_names
from services.profile.domain.membership import hidden_segments
from services.profile.domain.rules import Rules
from services.profile.enforcement import EVENTS_FIELD, NOT_IN_PURPOSE, REDACTED
from services.profile.walking import Told
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.ids import to_text
from shared.instants import to_timestamp

SEGMENT = "segment:"  # and its name: as it is withheld
ANSWER_BYTES = 3 * 1024 * 1024  # below the four megabytes that gRPC clients take by default

M = TypeVar("M", bound=Message)


def diff_message(compared: Compared, purpose: PurposeDefined, wanted: Wanted) -> pb.DiffProfileResponse:
    """What isn't a trait is told whichever traits are wanted."""
    found, unnamed = compared.difference, compared.unnamed
    traits = [one for one in found.traits if may_tell(one, purpose) and wanted.names(one)]
    left, rules = _Left(ANSWER_BYTES), [compared.old.rules, compared.new.rules]
    message = pb.DiffProfileResponse(
        old=_standing(compared.old),
        new=_standing(compared.new),
        members=left.within(_member(one, unnamed) for one in found.members),
        identifiers=left.within(_identifier(one, unnamed) for one in found.identifiers if may_tell(one, purpose)),
        traits=left.within(_trait(one, unnamed) for one in traits if wanted.has(one)),
        said_again_count=sum(not wanted.has(one) for one in traits),
        segments=left.within(_segment(one, unnamed) for one in found.segments if may_tell(one, purpose)),
        decided=left.within(_decided(one, unnamed) for one in found.decided if may_tell(one, purpose)),
        withheld=withheld_messages(
            filter(wanted.has_kind, found.all),
            rules,
            purpose,
            redacted_names(rules, wanted.traits) if compared.old.side.redacted or compared.new.side.redacted else (),
        ),
        purpose_version=f"{purpose.name}@{purpose.version}",
    )
    message.cut_count = left.cut
    return message


def change_message(told: Told, unnamed: Set[bytes]) -> pb.DatedChange:
    message = pb.DatedChange(change_time=to_timestamp(told.at))
    match told.change:
        case TraitChange() as change:
            message.trait.CopyFrom(_trait(change, unnamed))
        case IdentifierChange() as change:
            message.identifier.CopyFrom(_identifier(change, unnamed))
        case MemberChange() as change:
            message.member.CopyFrom(_member(change, unnamed))
        case SegmentChange() as change:
            message.segment.CopyFrom(_segment(change, unnamed))
        case ConsentChange() as change:
            message.decided.CopyFrom(_decided(change, unnamed))
    return message


def may_tell(change: Change, purpose: PurposeDefined) -> bool:
    """Of an identifier also whether there is anything to tell: not where it is there before and after, or its value is gone."""
    match change:
        case TraitChange():
            return purpose.may_see(change.name)
        case IdentifierChange():
            linked = change.linked
            return linked.value is not None and purpose.may_see(linked.namespace) and not (change.old and change.new)
        case SegmentChange():
            return all(map(purpose.may_see, change.looks_at))
        case ConsentChange():
            return change.purpose == purpose.name or purpose.may_see(EVENTS_FIELD)
    return True


def redacted_names(rules: Iterable[Rules], only: Collection[str]) -> set[str]:
    """What can't be told where events are redacted, as it is withheld; of traits that are named, those alone."""
    traits = {name for one in rules for name in computed_names(one)}
    segments = {f"{SEGMENT}{name}" for one in rules if one.segments for name in one.segments.conditions}
    return traits & set(only) if only else traits | segments


def withheld_messages(
    changes: Iterable[Change], rules: Iterable[Rules], purpose: PurposeDefined, redacted: Iterable[str] = ()
) -> list[profile_pb2.Withheld]:
    """Of segments and of what was decided all that the purpose may not see, changed or not: that it changed would tell of it."""
    names = {(f"{SEGMENT}{name}", NOT_IN_PURPOSE) for one in rules for name in hidden_segments(one, purpose.may_see)}
    names |= {(name, REDACTED) for name in redacted if _may_be_named(name, purpose) and (name, NOT_IN_PURPOSE) not in names}
    names |= set() if purpose.may_see(EVENTS_FIELD) else {("consent", NOT_IN_PURPOSE)}
    for change in changes:
        if isinstance(change, TraitChange) and not purpose.may_see(change.name):
            names.add((change.name, NOT_IN_PURPOSE))
        elif isinstance(change, IdentifierChange) and not purpose.may_see(change.linked.namespace):
            names.add((f"identifier:{change.linked.namespace}", NOT_IN_PURPOSE))
        elif isinstance(change, IdentifierChange) and change.linked.value is None:
            names.add((f"identifier:{change.linked.namespace}", REDACTED))
    return [profile_pb2.Withheld(field=field, reason=reason) for field, reason in sorted(names)]


def _may_be_named(redacted: str, purpose: PurposeDefined) -> bool:
    return redacted.startswith(SEGMENT) or purpose.may_see(redacted)


class _Left:
    """What of an answer's size is left; `cut` counts what no place was left for."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self.cut = 0

    def within(self, messages: Iterable[M]) -> Iterator[M]:
        for message in messages:
            self._size_bytes -= message.ByteSize()
            if self._size_bytes >= 0:
                yield message
            else:
                self.cut += 1


def _trait(change: TraitChange, unnamed: Set[bytes]) -> pb.TraitChange:
    return pb.TraitChange(
        name=change.name,
        old=_value(change.old, change.old_verified),
        new=_value(change.new, change.new_verified),
        cause=_cause(change.cause, unnamed),
        counted_event_ids=map(to_text, change.counted),
        redacted=change.redacted,
        said_again=change.said_again,
    )


def _value(trait: GoldenTrait | None, verified: bool) -> profile_pb2.Trait | None:
    return None if trait is None else trait_message(trait, verified)


def _identifier(change: IdentifierChange, unnamed: Set[bytes]) -> pb.IdentifierChange:
    linked = change.linked
    named = common_pb2.Identifier(namespace=linked.namespace, value=linked.value or "")
    return pb.IdentifierChange(identifier=named, linked=change.new is not None, cause=_cause(change.cause, unnamed))


def _member(change: MemberChange, unnamed: Set[bytes]) -> pb.MemberChange:
    erased = change.customer in unnamed
    customer_id = "" if erased else to_text(change.customer)
    return pb.MemberChange(
        customer_id=customer_id, joined=change.joined, cause=_cause(change.cause, unnamed), customer_erased=erased
    )


def _standing(answered: Answered) -> pb.Standing | None:
    profile = answered.profile
    if profile is None:
        return None
    record = profile.record
    return pb.Standing(
        customer_id=to_text(record.members[0]),
        version=profile.version,
        member_count=len(record.members),
        found_time=to_timestamp(record.founded_at),
        last_seen_time=to_timestamp(record.last_seen_at) if record.last_seen_at else None,
        redacted_events=profile.redacted,
        rules_version=profile.rules.version,
        known_at=to_timestamp(answered.instant.known_at),
        not_all_kept=answered.side.not_all_kept,
    )


def _segment(change: SegmentChange, unnamed: Set[bytes]) -> pb.SegmentChange:
    return pb.SegmentChange(name=change.name, entered=change.entered, cause=_cause(change.cause, unnamed), redacted=change.redacted)


def _decided(change: ConsentChange, unnamed: Set[bytes]) -> pb.ConsentChange:
    return pb.ConsentChange(
        purpose=change.purpose,
        old_outcome=change.old.outcome if change.old else "",
        new_outcome=change.new.outcome if change.new else "",
        cause=_cause(change.cause, unnamed, decided="decided"),
    )


def _cause(cause: Cause | None, unnamed: Set[bytes], decided: str = "confirmed") -> pb.Cause | None:
    match cause:
        case ByEvent():
            return _event(cause, unnamed)
        case ByDecision(decision=one):
            return pb.Cause(
                event_id=to_text(one.decision_id),
                kind=decided,
                occur_time=to_timestamp(one.decided_at),
                record_time=to_timestamp(one.recorded_at),
                undone=cause.undone,
            )
        case ByTime():
            return pb.Cause(kind="time", undone=cause.undone)
        case ByRules():
            return pb.Cause(kind="rules", rules_version=cause.version, undone=cause.undone)
    return None


def _event(cause: ByEvent, unnamed: Set[bytes]) -> pb.Cause:
    entry = cause.entry
    message = pb.Cause(
        event_id=to_text(entry.event_id),
        kind=entry.kind,
        customer_id="" if entry.stream in unnamed else to_text(entry.stream),
        occur_time=to_timestamp(entry.occurred_at),
        record_time=to_timestamp(cause.recorded_at),
        position=common_pb2.Position(log="profile", partition=cause.partition, number=cause.pos),
        undone=cause.undone,
    )
    if isinstance(cause.public, events.Activity):
        _add_clocks(message, cause.public)
    return message


def _add_clocks(message: pb.Cause, sent: events.Activity) -> None:
    message.source = sent.source
    message.receive_time.CopyFrom(to_timestamp(sent.received_at))
    if sent.original_at is not None:
        message.original_time.CopyFrom(to_timestamp(sent.original_at))
    if sent.sent_at is not None:
        message.sent_time.CopyFrom(to_timestamp(sent.sent_at))
