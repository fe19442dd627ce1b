"""Profiles, timelines and replays as messages, as far as a purpose may see them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from c360.common.v1 import common_pb2
from c360.profile.v1 import profile_pb2 as pb

from services.profile.api.bounds import LISTED_AT_MOST, bounded, said_of_traits
from services.profile.api.masks import WHOLE, Mask
from services.profile.api.values import to_value
from services.profile.domain.golden import NO_EVENT, GoldenTrait
from services.profile.domain.rules import Rules
from services.profile.domain.state import LinkedIdentifier
from services.profile.enforcement import Released, release
from services.profile.profile import Profile
from services.profile.replay import Step
from shared.events.consent import ALL_TRAITS, PurposeDefined
from shared.ids import to_text
from shared.instants import to_timestamp
from shared.privacy import REDACTED


class View(NamedTuple):
    """What the fields of a profile are made from."""

    profile: Profile
    released: Released
    purpose: PurposeDefined
    verified: frozenset[str]
    mask: Mask


# What isn't asked for isn't made.
FIELDS: dict[str, Callable[[View], Any]] = {
    "customer_id": lambda view: to_text(view.profile.record.members[0]),
    "member_ids": lambda view: [to_text(member) for member in view.profile.record.members[:LISTED_AT_MOST]],
    "traits": lambda view: {
        name: trait_message(trait, name in view.verified)
        for name, trait in view.released.traits.items()
        if view.mask.traits is None or name in view.mask.traits
    },
    "identifiers": lambda view: [identifier_message(linked) for linked in view.released.identifiers[:LISTED_AT_MOST]],
    "withheld": lambda view: [
        pb.Withheld(field=withheld.field, reason=withheld.reason) for withheld in view.released.withheld[:LISTED_AT_MOST]
    ],
    "version": lambda view: view.profile.version,
    "found_time": lambda view: to_timestamp(view.profile.record.founded_at),
    "last_seen_time": lambda view: to_timestamp(seen_at) if (seen_at := view.profile.record.last_seen_at) else None,
    "positions": lambda view: position_messages(view.profile.positions),
    "state_hash": lambda view: view.profile.record.state_hash if view.purpose.may_see(ALL_TRAITS) else "",
    "purpose_version": lambda view: f"{view.purpose.name}@{view.purpose.version}",
    "redacted_events": lambda view: view.profile.redacted,
    "rules_version": lambda view: view.profile.rules.version,
}
# How many there are of what is listed up to a bound.
LISTS: dict[str, Callable[[View], int]] = {
    "member_ids": lambda view: len(view.profile.record.members),
    "identifiers": lambda view: len(view.released.identifiers) + view.released.cut_identifiers,
    "withheld": lambda view: len(view.released.withheld),
}


def profile_message(profile: Profile, purpose: PurposeDefined, verified: frozenset[str], mask: Mask = WHOLE) -> pb.Profile:
    view = View(profile, release(profile.record, purpose), purpose, verified, mask)
    message = pb.Profile(**{field: FIELDS[field](view) for field in mask.fields})
    bounded(message, {field: count(view) for field, count in LISTS.items() if field in mask.fields})
    if profile.record.left_out and mask.wants_more_than(profile.record.traits):
        said_of_traits(message).not_all_kept = True
    if too_large := sorted(name for name in view.released.too_large if mask.wants_any_trait([name])):
        said_of_traits(message).too_large.extend(too_large)
    return message


def as_of_its_events(message: pb.Profile, rules: Rules) -> pb.Profile:
    """What is compared with what was told: of a trait that is a reading of the clock its newest event stands for the value."""
    if not (clocks := rules.clocks & message.traits.keys()):
        return message
    steady = pb.Profile()
    steady.CopyFrom(message)
    for name in clocks:
        steady.traits[name].ClearField("value")
    return steady


def position_messages(positions: Mapping[int, int]) -> list[common_pb2.Position]:
    """Of the customer log, by partition."""
    return [
        common_pb2.Position(log="profile", partition=partition, number=pos)
        for partition, pos in sorted(positions.items())
        if pos >= 0
    ]


def identifier_message(linked: LinkedIdentifier) -> common_pb2.Identifier:
    return common_pb2.Identifier(namespace=linked.namespace, value=linked.value or "")


def trait_message(trait: GoldenTrait, verified: bool) -> pb.Trait:
    return pb.Trait(
        value=to_value(trait.value),
        source=trait.source,
        occur_time=to_timestamp(trait.occurred_at),
        event_id=event_id_of(trait),
        verified=verified,
        cut=trait.cut,
    )


def event_id_of(trait: GoldenTrait) -> str:
    """Empty where no event counts for it yet."""
    return to_text(trait.event_id) if trait.event_id != NO_EVENT else ""


def replay_step(step: Step, *, with_hash: bool) -> pb.ReplayStep:
    entry = step.event.entry
    return pb.ReplayStep(
        customer_id=to_text(entry.stream),
        version=step.event.originator_version,
        kind=entry.kind,
        event_id=to_text(entry.event_id),
        occur_time=to_timestamp(entry.occurred_at),
        schema_version=entry.schema_version,
        redacted=step.event.personal is REDACTED,
        state_hash=step.state_hash if with_hash else "",
    )
