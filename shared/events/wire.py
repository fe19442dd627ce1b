"""The forms in which events cross the bus: many to a message, because brokers charge by the message.

INGEST carries `Batch`es of `RawEvent`s under an epoch key; CUSTOMER carries `Unit`s of entries, each sealed under its
customer's key; PROFILE carries `Notice`s; CONSENT and SOURCE carry `Unit`s too. No subject, header or plain field is personal.
"""

from typing import Any, Literal

import msgspec

from shared.events.catalogue import Entry
from shared.events.signals import SignalKind
from shared.ids import derived_id
from shared.privacy import Personal

INGEST_STREAM = "INGEST"
CUSTOMER_STREAM = "CUSTOMER"
PROFILE_STREAM = "PROFILE"
CONSENT_STREAM = "CONSENT"
SOURCE_STREAM = "SOURCE"

EventKind = Literal["identify", "track", "page", "screen", "group", "alias"]


class RawEvent(Personal, frozen=True, kw_only=True):
    """An event of a source, validated, its clocks stamped, its person not known yet. Instants in microseconds."""

    kind: EventKind
    message_id: str
    source: str
    user_id: str | None = None
    anonymous_id: str | None = None
    external_ids: list[tuple[str, str]] = []  # (namespace, value), each once, in the order in which they came
    name: str = ""
    category: str = ""
    target_id: str = ""  # group: the group's id; alias: the previous id
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}
    integrations: dict[str, Any] = {}  # which destinations the source allows
    extra: dict[str, Any] = {}  # what else the call had at its top, by key
    occurred_at: int
    original_at: int | None = None
    sent_at: int | None = None
    received_at: int
    flags: list[str] = []  # public words, such as "PLAN_UNPLANNED_EVENT"
    raw: dict[str, Any] = {}  # canonical field: {"field", "value"} as the source sent them
    region: str = ""  # ISO 3166, of its source: completes phone numbers without a country code where they identify
    gpc: bool = False  # `Sec-GPC: 1` stood in the head of its request


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """A message on INGEST. `sealed` is an encoded list of RawEvent, sealed under the epoch key `epoch`, bound to it."""

    epoch: bytes
    count: int
    sealed: bytes


class Statement(Personal, frozen=True, kw_only=True):
    """What an event said of its person's choice, in formats of other people's, and the identifier that the choice was made by."""

    event_id: bytes
    identifier_hash: bytes
    namespace: str
    source: str
    happened_at: int
    signals: list[tuple[SignalKind, str]]


class Unit(msgspec.Struct, frozen=True, array_like=True):
    """A message on CUSTOMER, CONSENT or SOURCE: what one transaction of its owner made known, or of a large one a part.

    `number` rises by one from message to message. `consumed` says up to where the owner had read its own sources, so that
    a follower knows what it has caught up with; of several parts only the last says it, and what was `refused`: ids of events
    that were taken and go to nobody. `recorded_at` is when the log of its owner took it down; 0 of those that have none.
    `statements` are lists of Statement, each sealed under the evidence key (`shared/evidence_key.py`), for consent alone.
    """

    number: int
    consumed: dict[str, int]
    entries: list[Entry]
    refused: list[bytes] = []
    recorded_at: int = 0
    statements: list[bytes] = []


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """A message on PROFILE: these customers of this partition changed, up to this position."""

    partition: int
    first: int
    last: int
    customers: list[bytes]


def event_id_of(source: str, message_id: str) -> bytes:
    """A source's message is one event however often it is sent."""
    return derived_id(b"event", source.encode(), message_id.encode())


encode = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(Batch).decode
decode_raw_events = msgspec.msgpack.Decoder(list[RawEvent]).decode
decode_entry = msgspec.msgpack.Decoder(Entry).decode
decode_unit = msgspec.msgpack.Decoder(Unit).decode
decode_notice = msgspec.msgpack.Decoder(Notice).decode
