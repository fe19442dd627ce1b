"""The messages of the protocol that the calls take and answer, and how to name a person. Each field is described where it is defined."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from customer360_client.protos.c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from customer360_client.protos.c360.consent.v1.consent_pb2 import (
    OUTCOME_GRANTED,
    OUTCOME_OBJECTED,
    OUTCOME_OPTED_IN,
    OUTCOME_OPTED_OUT,
    OUTCOME_REFUSED,
    OUTCOME_WITHDRAWN,
    CheckResponse,
    NoticeShown,
    RecordDecisionResponse,
)
from customer360_client.protos.c360.ingest.v1.ingest_pb2 import (
    EVENT_TYPE_ALIAS,
    EVENT_TYPE_GROUP,
    EVENT_TYPE_IDENTIFY,
    EVENT_TYPE_PAGE,
    EVENT_TYPE_SCREEN,
    EVENT_TYPE_TRACK,
    Event,
    RecordEventsResponse,
)
from customer360_client.protos.c360.profile.v1.profile_pb2 import (
    GetTimelineResponse,
    LookupCustomerResponse,
    Profile,
    TimelineEntry,
)
from customer360_client.protos.c360.profile.v1.rules_pb2 import ExplainTraitResponse

__all__ = [
    "EVENT_TYPE_ALIAS",
    "EVENT_TYPE_GROUP",
    "EVENT_TYPE_IDENTIFY",
    "EVENT_TYPE_PAGE",
    "EVENT_TYPE_SCREEN",
    "EVENT_TYPE_TRACK",
    "OUTCOME_GRANTED",
    "OUTCOME_OBJECTED",
    "OUTCOME_OPTED_IN",
    "OUTCOME_OPTED_OUT",
    "OUTCOME_REFUSED",
    "OUTCOME_WITHDRAWN",
    "CheckResponse",
    "CustomerRef",
    "Event",
    "ExplainTraitResponse",
    "GetTimelineResponse",
    "Identifier",
    "LookupCustomerResponse",
    "NoticeShown",
    "Position",
    "Profile",
    "RecordDecisionResponse",
    "RecordEventsResponse",
    "TimelineEntry",
    "by_id",
    "by_identifier",
    "struct",
    "timestamp",
    "traits_of",
]


def by_id(customer_id: str) -> CustomerRef:
    """Any id that was ever given out."""
    return CustomerRef(customer_id=customer_id)


def by_identifier(namespace: str, value: str) -> CustomerRef:
    """Such as ("email", "ada@example.com"); as the person writes it."""
    return CustomerRef(identifier=Identifier(namespace=namespace, value=value))


def traits_of(profile: Profile) -> dict[str, Any]:
    """The golden values alone, as JSON has them."""
    return {name: MessageToDict(trait.value) for name, trait in profile.traits.items()}


def struct(content: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(content)
    return made


def timestamp(instant: datetime | None) -> Timestamp | None:
    """Raises ValueError where it has no time zone."""
    if instant is None:
        return None
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    made = Timestamp()
    made.FromDatetime(instant)
    return made
