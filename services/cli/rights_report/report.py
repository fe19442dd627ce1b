"""What an access report and a portable copy hold. Pure; report.schema.json and data.schema.json are made from these forms."""

from __future__ import annotations

from typing import Any, Final

import msgspec

FORMAT: Final = "customer360 access report, version 1"
COMPUTED: Final = "computed"  # the source of traits that nobody told: they are what events amount to
DERIVED: Final = "derived, not told by the person"


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """Instants are ISO 8601 in UTC, days ISO 8601; what isn't known is empty or null."""


class Asked(Form, frozen=True, kw_only=True):
    """The request that is answered."""

    rights_request_id: str
    right: str
    law: str
    receive_date: str
    due_date: str


class Controller(Form, frozen=True, kw_only=True):
    """Who answers for the data."""

    name: str
    legal_name: str
    address: str = ""
    contact: str = ""
    protection_officer: str = ""
    jurisdiction: str = ""


class Identifier(Form, frozen=True, kw_only=True, tag="identifier", tag_field="record"):
    """By which the person is known."""

    namespace: str
    value: str


class Trait(Form, frozen=True, kw_only=True, tag="trait", tag_field="record"):
    """What is known of the person, and where it comes from."""

    name: str
    value: Any
    source: str
    since_time: str | None
    event_id: str
    verified: bool = False


class NotShown(Form, frozen=True, kw_only=True):
    """What exists and isn't here."""

    what: str
    why: str


class Source(Form, frozen=True, kw_only=True):
    """Where data came from."""

    name: str
    events: int
    first_time: str
    last_time: str


class Event(Form, frozen=True, kw_only=True, tag="event", tag_field="record"):
    """What happened, as it was told, and what became of the person's record."""

    event_id: str
    kind: str
    name: str
    source: str
    occur_time: str
    record_time: str
    details: Any
    flags: list[str]
    redacted: bool


class Decision(Form, frozen=True, kw_only=True, tag="decision", tag_field="record"):
    """What the person decided about a purpose, by which identifier, or what was recorded of how old they are (`age`, in years, such as
    "13 to 15"). `authorised`: by what it was verified who is responsible for them, where that is who granted it. Not their `own`: it is by an
    identifier that may be somebody else's, so that nothing is told of how."""

    decision_id: str
    namespace: str
    value: str
    purpose: str
    purpose_version: int
    outcome: str
    decide_time: str
    record_time: str
    method: str
    notice: str
    age: str = ""
    authorised: str = ""
    own: bool


class Restriction(Form, frozen=True, kw_only=True):
    """That processing is restricted (GDPR Art. 18): what is known is stored and not used, until it is lifted. Not their `own`: it is by an
    identifier that may be somebody else's, so that nothing is told of why."""

    restriction_id: str
    since_time: str
    grounds: list[str]
    reason: str
    own: bool


class Purpose(Form, frozen=True, kw_only=True):
    """What data may be used for, and whether it may be now."""

    name: str
    version: int
    description: str
    legal_basis: str
    traits: list[str]
    retention: str
    recipients: list[str]
    permitted: bool
    why: str


class Disclosure(Form, frozen=True, kw_only=True):
    """Who read what of it, for which purpose; of a refusal nothing was given out."""

    read_time: str
    caller: str
    call: str
    purpose_version: str
    legal_basis: str
    verdict: str
    reason: str
    fields: list[str]


class Report(Form, frozen=True, kw_only=True):
    """All that is known of one person."""

    format: str
    made_time: str
    request: Asked
    controllers: list[Controller]
    customer_id: str
    member_ids: list[str]
    found_time: str | None
    last_seen_time: str | None
    identifiers: list[Identifier]
    traits: list[Trait]
    segments: list[str]
    restrictions: list[Restriction]
    purposes: list[Purpose]
    decisions: list[Decision]
    disclosures: list[Disclosure]
    sources: list[Source]
    events: list[Event]
    not_shown: list[NotShown]


Portable = Identifier | Trait | Event | Decision

encode = msgspec.json.Encoder(order="deterministic").encode


def sources_of(events: list[Event]) -> list[Source]:
    """By name; of what our own records say there is none."""
    by_name: dict[str, list[str]] = {}
    for event in events:
        if event.source:
            by_name.setdefault(event.source, []).append(event.occur_time)
    return [
        Source(name=name, events=len(times), first_time=min(times), last_time=max(times)) for name, times in sorted(by_name.items())
    ]


def document(report: Report) -> bytes:
    return msgspec.json.format(encode(report), indent=1) + b"\n"


def portable(report: Report) -> list[Portable]:
    """What the person or a source told (GDPR Art. 20): no conclusions of ours, and no events that are our own bookkeeping."""
    told = [trait for trait in report.traits if trait.source != COMPUTED]
    return [
        *report.identifiers,
        *told,
        *(one for one in report.decisions if one.own),
        *(event for event in report.events if event.source),
    ]


def lines(records: list[Portable]) -> bytes:
    return b"".join(encode(record) + b"\n" for record in records)


def schema_of(form: Any) -> bytes:
    """JSON Schema 2020-12."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(form)}
    return msgspec.json.format(encode(schema), indent=1) + b"\n"
