"""What tests of erasure share: people with everything a person can have, and reading the tables behind the services' backs."""

import uuid
from typing import Any

import psycopg
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.identity.v1 import identity_pb2 as pb
from c360.ingest.v1 import ingest_pb2
from google.protobuf.struct_pb2 import Struct
from psycopg.conninfo import make_conninfo

from services.stack.stack import Stack
from tests.e2e.client import DEADLINE_S, Platform

REFUSE = pb.REIMPORT_POLICY_REFUSE
START_CLEAN = pb.REIMPORT_POLICY_START_CLEAN
COMPLETED = pb.ERASURE_STAGE_COMPLETED


class Person:
    """Two devices and an address of one synthetic person; every value of hers is a canary."""

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex[:12]
        self.user = f"canary-user-{self.run}"
        self.email = f"canary-email-{self.run}@example.com"
        self.devices = (f"canary-browser-{self.run}", f"canary-app-{self.run}")
        self.name = f"canary-name-{self.run}"
        self.note = f"canary-note-{self.run}"

    @property
    def canaries(self) -> list[str]:
        return [self.user, self.email, *self.devices, self.name, self.note]

    def live(self, platform: Platform, key: str) -> Position:
        """Two customers found and merged, with traits and events in both."""
        first, second = self.devices
        platform.record(key, track(self.note, anonymous_id=first))
        platform.record(key, identify({"email": self.email, "first_name": self.name}, anonymous_id=second))
        platform.record(key, identify({}, user_id=self.user, anonymous_id=first))
        return platform.record(key, identify({"email": self.email}, user_id=self.user, anonymous_id=second)).position

    def email_identifier(self) -> Identifier:
        return Identifier(namespace="email", value=self.email)


def identify(traits: dict[str, Any], **names: str) -> ingest_pb2.Event:
    values = Struct()
    values.update(traits)
    return ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, traits=values, message_id=str(uuid.uuid4()), **names)  # type: ignore[arg-type]


def track(note: str, **names: str) -> ingest_pb2.Event:
    properties = Struct()
    properties.update({"note": note})
    return ingest_pb2.Event(
        type=ingest_pb2.EVENT_TYPE_TRACK,
        name="Noted",
        properties=properties,
        message_id=str(uuid.uuid4()),
        **names,  # type: ignore[arg-type]
    )


def erase(
    platform: Platform,
    person: Person,
    policy: pb.ReimportPolicy.ValueType = REFUSE,
    fresh: Position | None = None,
    request_id: str = "",
    timeout_s: float = DEADLINE_S,
    named: Identifier | None = None,
) -> pb.Erasure:
    """By her e-mail address, or what is `named`."""
    request = pb.EraseCustomerRequest(
        request_id=request_id or str(uuid.uuid4()),
        customer=CustomerRef(identifier=named or person.email_identifier()),
        policy=policy,
        reason="GDPR Art. 17, ticket 1",
        requested_by="privacy-desk",
        at_least_as_fresh=fresh,
    )
    return platform.identity.EraseCustomer(request, timeout=timeout_s, wait_for_ready=True).erasure


def wait_completed(platform: Platform, erasure: pb.Erasure) -> pb.Erasure:
    """Repeating the request waits for its end."""
    request = pb.EraseCustomerRequest(
        request_id=erasure.request_id,
        customer=CustomerRef(customer_id=erasure.customer_id),
        policy=erasure.policy,
        reason=erasure.reason,
        requested_by=erasure.requested_by,
    )
    while True:
        found = platform.identity.EraseCustomer(request, timeout=DEADLINE_S).erasure
        if found.stage == COMPLETED:
            return found


def rows(stack: Stack, database: str, query: str, *arguments: Any) -> list[Any]:
    with psycopg.connect(make_conninfo(stack.admin_url, dbname=database)) as connection:
        return connection.execute(query, arguments).fetchall()


def never_again(stack: Stack, erasure: pb.Erasure) -> None:
    """No key has come back, and no event stands behind the last one of any erased stream."""
    streams = [uuid.UUID(stream).bytes for stream in erasure.erased_customer_ids]
    assert rows(stack, "c360_vault", "SELECT count(*) FROM vault.data_keys WHERE owner = ANY(%s) AND wrapped IS NULL", streams) == [
        (len(streams),)
    ]
    last = rows(
        stack,
        "c360",
        "SELECT DISTINCT ON (stream) type_id FROM profile.events WHERE stream = ANY(%s) ORDER BY stream, version DESC",
        streams,
    )
    assert last == [("customer.erased",)] * len(streams)
