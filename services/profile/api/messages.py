"""Profiles, timelines and replays as messages, as far as a purpose may see them."""

from typing import Any

from c360.common.v1 import common_pb2
from c360.profile.v1 import profile_pb2 as pb

from services.profile.api.values import to_struct, to_value
from services.profile.app import Profile
from services.profile.enforcement import ReleasedEvent, release, release_event
from services.profile.replay import Step
from services.profile.timelines import TimelineItem
from shared.events import customer as events
from shared.events.consent import ALL_TRAITS, PurposeDefined
from shared.ids import to_text
from shared.instants import to_timestamp
from shared.privacy import REDACTED


def profile_message(profile: Profile, purpose: PurposeDefined, verified: frozenset[str]) -> pb.Profile:
    record, released = profile.record, release(profile.record, purpose)
    return pb.Profile(
        customer_id=to_text(record.members[0]),
        member_ids=[to_text(member) for member in record.members],
        traits={
            name: pb.Trait(
                value=to_value(trait.value),
                source=trait.source,
                occur_time=to_timestamp(trait.occurred_at),
                event_id=to_text(trait.event_id),
                verified=name in verified,
            )
            for name, trait in released.traits.items()
        },
        identifiers=[
            common_pb2.Identifier(namespace=linked.namespace, value=linked.value or "") for linked in released.identifiers
        ],
        withheld=[pb.Withheld(field=withheld.field, reason=withheld.reason) for withheld in released.withheld],
        version=profile.version,
        found_time=to_timestamp(record.founded_at),
        last_seen_time=to_timestamp(record.last_seen_at) if record.last_seen_at else None,
        positions=[
            common_pb2.Position(log="profile", partition=partition, number=pos)
            for partition, pos in sorted(profile.positions.items())
            if pos >= 0
        ],
        state_hash=record.state_hash if purpose.may_see(ALL_TRAITS) else "",
        purpose_version=f"{purpose.name}@{purpose.version}",
        redacted_events=profile.redacted,
    )


def timeline_message(item: TimelineItem, purpose: PurposeDefined) -> pb.TimelineEntry:
    record, entry = item.record, item.record.entry
    released = release_event(item.public, item.personal, purpose)
    message = pb.TimelineEntry(
        event_id=to_text(entry.event_id),
        kind=item.kind,
        name=released.name or "",
        occur_time=to_timestamp(entry.occurred_at),
        record_time=to_timestamp(record.recorded_at),
        details=to_struct(_details(item, released)),
        customer_id=to_text(entry.stream),
        version=record.version,
        redacted=item.personal is REDACTED,
        position=common_pb2.Position(log="profile", partition=record.partition, number=record.pos),
    )
    if isinstance(item.public, events.Activity):
        message.source = item.public.source
        message.flags.extend(item.public.flags)
        message.sent_as.CopyFrom(to_struct(released.sent_as))
        message.receive_time.CopyFrom(to_timestamp(item.public.received_at))
        if item.public.original_at is not None:
            message.original_time.CopyFrom(to_timestamp(item.public.original_at))
    return message


def _details(item: TimelineItem, released: ReleasedEvent) -> dict[str, Any]:
    if released.names_customers:
        return {"customer_ids": [to_text(end) for end in (item.record.entry.stream, item.other) if end is not None]}
    return released.traits or released.properties or released.identifier or {}


def replay_step(step: Step) -> pb.ReplayStep:
    entry = step.event.entry
    return pb.ReplayStep(
        customer_id=to_text(entry.stream),
        version=step.event.originator_version,
        kind=entry.kind,
        event_id=to_text(entry.event_id),
        occur_time=to_timestamp(entry.occurred_at),
        schema_version=entry.schema_version,
        redacted=step.event.personal is REDACTED,
        state_hash=step.state_hash,
    )
