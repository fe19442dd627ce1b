"""The part of profile's gRPC edge that tells how a profile came to be."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from c360.common.v1 import common_pb2
from c360.profile.v1 import history_pb2 as pb
from c360.profile.v1 import history_pb2_grpc, profile_pb2
from google.protobuf.message import Message

from services.profile.api.messages import trait_message
from services.profile.app import Instant, Profiles
from services.profile.differences import Answered, Compared, Differences
from services.profile.domain.diff import Cause, Difference, IdentifierChange
from services.profile.domain.golden import GoldenTrait
from services.profile.enforcement import NOT_IN_PURPOSE, REDACTED
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.identifiers import Identifier
from shared.ids import to_text
from shared.instants import END_OF_TIME, to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness, instant, named_customer
from shared.rpc.server import seconds_left

ANSWER_BYTES = 3 * 1024 * 1024  # below the four megabytes that gRPC clients take by default

M = TypeVar("M", bound=Message)


class HistoryApi(history_pb2_grpc.HistoryServiceServicer):
    def __init__(self, profiles: Profiles, differences: Differences, progress: Progress) -> None:
        self._profiles = profiles
        self._differences = differences
        self._progress = progress

    async def DiffProfile(self, request: pb.DiffProfileRequest, context: Any) -> pb.DiffProfileResponse:
        old, new = self._point(request.old, "old"), self._point(request.new, "new")
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        purpose = self._profiles.purpose(request.purpose)
        named = named_customer(request.customer)
        customer = await self._profiles.customer_of(named) if isinstance(named, Identifier) else named
        compared = await self._differences.between(customer, purpose, old, new)
        return diff_message(compared, purpose, set(request.traits))

    def _point(self, point: pb.Point, name: str) -> Instant:
        def past(field: str) -> int:
            given = point.HasField(field)  # type: ignore[arg-type]
            return self._profiles.past(instant(getattr(point, field), f"{name}.{field}")) if given else END_OF_TIME

        return Instant(past("valid_at"), past("known_at"))


def diff_message(compared: Compared, purpose: PurposeDefined, only: set[str]) -> pb.DiffProfileResponse:
    """`only`: traits by name; empty for all."""
    found = compared.difference
    left = _Left(ANSWER_BYTES)
    message = pb.DiffProfileResponse(
        old=_standing(compared.old),
        new=_standing(compared.new),
        members=left.within(
            pb.MemberChange(customer_id=to_text(one.customer), joined=one.joined, cause=_cause(one.cause)) for one in found.members
        ),
        identifiers=left.within(
            pb.IdentifierChange(identifier=named, linked=one.new is not None, cause=_cause(one.cause))
            for one in found.identifiers
            if (named := _named(one, purpose)) is not None
        ),
        traits=left.within(_traits(compared, purpose, only)),
        withheld=[profile_pb2.Withheld(field=field, reason=reason) for field, reason in sorted(_withheld(found, purpose))],
        purpose_version=f"{purpose.name}@{purpose.version}",
    )
    message.cut_count = left.cut
    return message


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


def _traits(compared: Compared, purpose: PurposeDefined, only: set[str]) -> Iterator[pb.TraitChange]:
    for one in compared.difference.traits:
        if purpose.may_see(one.name) and (not only or one.name in only):
            yield pb.TraitChange(
                name=one.name,
                old=_trait(one.name, one.old, compared.old),
                new=_trait(one.name, one.new, compared.new),
                cause=_cause(one.cause),
            )


def _trait(name: str, trait: GoldenTrait | None, answered: Answered) -> profile_pb2.Trait | None:
    return None if trait is None else trait_message(trait, name in answered.side.verified)


def _named(change: IdentifierChange, purpose: PurposeDefined) -> common_pb2.Identifier | None:
    """None where the purpose may not see it, or its value is gone, or it is there at both points."""
    linked = change.linked
    if linked.value is None or not purpose.may_see(linked.namespace) or (change.old and change.new):
        return None
    return common_pb2.Identifier(namespace=linked.namespace, value=linked.value)


def _withheld(found: Difference, purpose: PurposeDefined) -> Iterator[tuple[str, str]]:
    yield from {(one.name, NOT_IN_PURPOSE) for one in found.traits if not purpose.may_see(one.name)}
    linked = [change.linked for change in found.identifiers]
    yield from {(f"identifier:{one.namespace}", NOT_IN_PURPOSE) for one in linked if not purpose.may_see(one.namespace)}
    yield from {(f"identifier:{one.namespace}", REDACTED) for one in linked if purpose.may_see(one.namespace) and one.value is None}


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
        known_at=to_timestamp(answered.instant.known_at),
    )


def _cause(cause: Cause | None) -> pb.Cause | None:
    if cause is None:
        return None
    entry = cause.entry
    message = pb.Cause(
        event_id=to_text(entry.event_id),
        kind=entry.kind,
        customer_id=to_text(entry.stream),
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
