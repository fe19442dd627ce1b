"""The definition, written plainly: `profile(V, K)` is what the rules make of all events recorded by K that happened by V.

Slow, and knows nothing of states, folds, joins, snapshots and caches: the code under test is none of it.
"""

from typing import Any

import msgspec

from services.profile.app import Instant
from shared.events import customer as events
from shared.events.consent import PurposeDefined
from shared.log import Record
from shared.privacy import Redacted
from tests.properties.past_store import Past


class Answer(msgspec.Struct, frozen=True):
    """`members` are those who may be named."""

    members: list[bytes]
    traits: dict[str, tuple[Any, str, int, bytes]]  # value, source, when it happened, event
    identifiers: dict[bytes, str | None]
    founded_at: int
    last_seen_at: int
    restricted: bool
    version: int
    redacted: int


def plain_profile(past: Past, customer: bytes, valid_at: int, known_at: int) -> tuple[Answer, list[Record]] | None:
    """And the events that it is made of; None where nothing had happened by then."""
    members, counted = plain_events(past, customer, valid_at, known_at)
    if all(_timeless(record) for record in counted):
        return None
    closed = {r.entry.stream for r in counted if isinstance(r.entry.public(), events.CustomerErased)}
    founding = {r.entry.stream: r for r in counted if isinstance(r.entry.public(), events.CustomerFounded)}
    oldest_first = sorted(members, key=lambda stream: founding[stream].entry.public().founding_number)
    opened = [(r, r.entry.public(), r.entry.personal(past.keys.held.get(r.entry.stream))) for r in counted]
    happened = [r.entry.occurred_at for r, public, _ in opened if isinstance(public, events.Activity)]
    answer = Answer(
        members=[member for member in oldest_first if member not in plain_unnamed(past, customer)],
        traits=_traits([one for one in opened if one[0].entry.stream not in closed]),
        identifiers=_named_by(opened, _identifiers(opened, closed)),
        founded_at=min(happened, default=founding[oldest_first[0]].entry.occurred_at),
        last_seen_at=max(happened, default=0),
        restricted=any(isinstance(public, events.CustomerRestricted) for _, public, _ in opened),
        version=len(counted),
        redacted=sum(1 for _, _, personal in opened if isinstance(personal, Redacted)),
    )
    return answer, counted


def plain_unnamed(past: Past, customer: bytes) -> set[bytes]:
    """Whoever was erased, but for who is one with the customer."""
    erased = {r.entry.stream for r in past.log.records if isinstance(r.entry.public(), events.CustomerErased)}
    return erased - component(past.log.records, customer)


def plain_events(past: Past, customer: bytes, valid_at: int, known_at: int) -> tuple[set[bytes], list[Record]]:
    """Who was one with the customer, and what counts of them, whether or not that is anything to tell of."""
    known = [record for record in past.log.records if record.recorded_at <= known_at]
    members = component(known, customer)
    return members, [r for r in known if r.entry.stream in members and (_timeless(r) or r.entry.occurred_at <= valid_at)]


def component(known: list[Record], customer: bytes) -> set[bytes]:
    cut = {(r.entry.stream, p.merge_id) for r in known if isinstance(p := r.entry.public(), events.CustomersSplit)}
    edges = [
        (r.entry.stream, p.other)
        for r in known
        if isinstance(p := r.entry.public(), events.CustomersMerged) and (r.entry.stream, p.merge_id) not in cut
    ]
    members = {customer}
    while more := {far for near, far in edges if near in members} - members:
        members |= more
    return members


def _traits(opened: list[tuple[Record, Any, Any]]) -> dict[str, tuple[Any, str, int, bytes]]:
    """Of each the most recent, by when it happened, then by when it came; null takes the trait away."""
    said = [
        (r.entry.occurred_at, public.received_at, r.entry.event_id, public.source, name, value)
        for r, public, personal in opened
        if isinstance(personal, events.Identified)
        for name, value in personal.traits.items()
    ]
    latest = {one[4]: one for one in sorted(said, key=lambda one: one[:4])}
    return {
        name: (value, source, at, event_id) for name, (at, _, event_id, source, _, value) in latest.items() if value is not None
    }


def _identifiers(opened: list[tuple[Record, Any, Any]], closed: set[bytes]) -> dict[bytes, str | None]:
    taken_back = {public.link_id for _, public, _ in opened if isinstance(public, events.IdentifierUnlinked)}
    links = [
        (r.entry.event_id, public.value_hash, getattr(personal, "value", None))
        for r, public, personal in opened
        if isinstance(public, events.IdentifierLinked) and r.entry.event_id not in taken_back and r.entry.stream not in closed
    ]
    return {value_hash: value for _, value_hash, value in sorted(links)}


def _named_by(opened: list[tuple[Record, Any, Any]], identifiers: dict[bytes, str | None]) -> dict[bytes, str | None]:
    """It doesn't matter when it became known whose they are."""
    named = {
        value_hash
        for _, public, _ in opened
        if isinstance(public, events.Activity)
        for value_hash in (public.resolved_by, *public.also_named)
    }
    return {value_hash: value for value_hash, value in identifiers.items() if value_hash in named}


def plain_identifiers(past: Past, customer: bytes, valid_at: int, known_at: int) -> dict[bytes, str | None]:
    """Of the customer's own stream, as far as any event of who was one with it names them."""
    counted = plain_events(past, customer, valid_at, known_at)[1]
    opened = [(r, r.entry.public(), r.entry.personal(past.keys.held.get(r.entry.stream))) for r in counted]
    return _named_by(opened, _identifiers([one for one in opened if one[0].entry.stream == customer], set()))


def _timeless(record: Record) -> bool:
    return record.entry.type_id in events.TIMELESS_IDS


def plain_refusal(past: Past, customer: bytes, purpose: PurposeDefined, now: bool) -> str | None:
    """Why nothing is told, whatever the instant, for purposes that the person can't forbid: her wishes of now rule the past too."""
    erased = {r.entry.stream for r in past.log.records if isinstance(r.entry.public(), events.CustomerErased)}
    restricted = {r.entry.stream for r in past.log.records if isinstance(r.entry.public(), events.CustomerRestricted)}
    if not any(r.entry.stream == customer for r in past.log.records):
        return "CUSTOMER_UNKNOWN"
    if customer in erased:
        return "CUSTOMER_ERASED" if now else None
    members = component(past.log.records, customer)
    if members & erased:
        return "CUSTOMER_ERASED"
    return "HELD" if members & restricted and purpose.legal_basis != "legal_obligation" else None


def plain_refusal_of_others(past: Past, customer: bytes, purpose: PurposeDefined, instant: Instant) -> str | None:
    """Why nothing is told of an instant at which the customer was one with somebody who is another now."""
    known = [record for record in past.log.records if record.recorded_at <= instant.known_at]
    if instant.is_now or not any(r.entry.stream == customer for r in known):
        return None
    erased = {r.entry.stream for r in past.log.records if isinstance(r.entry.public(), events.CustomerErased)}
    restricted = {r.entry.stream for r in past.log.records if isinstance(r.entry.public(), events.CustomerRestricted)}
    asked = [component(past.log.records, member) for member in component(known, customer)]
    held = any(members & restricted for members in asked if not members & erased)
    return "HELD" if held and purpose.legal_basis != "legal_obligation" else None
