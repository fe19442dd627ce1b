"""A running stack as its callers see it: gRPC stubs, sources, and positions to read your own writes by."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Self

import grpc
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2, consent_pb2_grpc, registry_pb2, registry_pb2_grpc
from c360.identity.v1 import (
    decision_pb2_grpc,
    explanation_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    matching_pb2,
    matching_pb2_grpc,
)
from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from c360.profile.v1 import export_pb2_grpc, history_pb2_grpc, profile_pb2, profile_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.cli.credentials import Bearer
from services.stack.ports import Endpoints
from shared.health import BY_HEALTH
from shared.rpc.errors import reason_of

DEADLINE_S = 20.0  # generous: what is tested is the answer, not its speed
POLL_S = 0.05
PAGE_ENTRIES = 500
# The last is told by a service that ends: calls that wait for somebody else outlast the five seconds that they are given then.
TRY_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
# A channel must not sit out gRPC's default pause of up to two minutes when a killed service is back after one second.
CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)


def options_for(address: str) -> tuple[tuple[str, object], ...]:
    """Of several processes whoever serves is asked; one alone is asked whatever it says of its health, as it answers when it has stopped too."""
    return (*CHANNEL_OPTIONS, ("grpc.service_config", BY_HEALTH)) if address.startswith("ipv4:") else CHANNEL_OPTIONS


# By the address of a door that lets in only who proves who they are: a token, asked for at each call, as it may come and change.
PROOFS: dict[str, Callable[[], str]] = {}


class Proven(Bearer):
    def __init__(self, address: str) -> None:
        super().__init__("")
        self._address = address

    def _with_token(self, details: Any) -> Any:
        token = PROOFS[self._address]() if self._address in PROOFS else ""
        self._said = ("authorization", f"Bearer {token}")
        return super()._with_token(details) if token else details


class AskedAgain(grpc.UnaryUnaryClientInterceptor):
    """Calls that are refused because consent wasn't heard just then are made again, as every caller is told to.

    So it is right after a start, and on a machine that is too busy for a lease to be renewed in time."""

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        give_up_at = time.monotonic() + DEADLINE_S
        while True:
            answer = continuation(client_call_details, request)
            refused = isinstance(answer, grpc.RpcError) and reason_of(answer) == "CONSENT_NOT_CONFIRMED"
            if not refused or time.monotonic() > give_up_at:
                return answer
            time.sleep(POLL_S)


class Platform:
    """Stubs for the four services, and the calls that every test makes. A context manager."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.url = endpoints.ingest_http
        self._channels = [
            grpc.intercept_channel(grpc.insecure_channel(address, options=options_for(address)), AskedAgain(), Proven(address))
            for address in (endpoints.ingest, endpoints.identity, endpoints.profile, endpoints.consent)
        ]
        ingest, identity, profile, consent = self._channels
        self.ingest = ingest_pb2_grpc.IngestServiceStub(ingest)
        self.identity = identity_pb2_grpc.IdentityServiceStub(identity)
        self.decisions = decision_pb2_grpc.DecisionServiceStub(identity)
        self.explanations = explanation_pb2_grpc.ExplanationServiceStub(identity)
        self.matching = matching_pb2_grpc.MatchingServiceStub(identity)
        self.profile = profile_pb2_grpc.ProfileServiceStub(profile)
        self.history = history_pb2_grpc.HistoryServiceStub(profile)
        self.export = export_pb2_grpc.ExportServiceStub(profile)
        self.consent = consent_pb2_grpc.ConsentServiceStub(consent)
        self.registry = registry_pb2_grpc.RegistryServiceStub(consent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for channel in self._channels:
            channel.close()

    def register_source(self, name: str) -> str:
        """Its write key."""
        request = ingest_pb2.RegisterSourceRequest(request_id=str(uuid.uuid4()), name=name)
        return str(self.ingest.RegisterSource(request, timeout=DEADLINE_S, wait_for_ready=True).write_key)

    def define_purpose(self, *traits: str) -> str:
        """The name of a new one, which asks the person for consent."""
        purpose = registry_pb2.Purpose(legal_basis=registry_pb2.LEGAL_BASIS_CONSENT, traits=traits)
        definition = registry_pb2.Definition(name=f"p_{uuid.uuid4().hex}", defined_by="ops", reason="asked", purpose=purpose)
        request = registry_pb2.DefineRequest(request_id=definition.name, definition=definition)
        self.registry.Define(request, timeout=DEADLINE_S, wait_for_ready=True)
        return definition.name

    def record(self, write_key: str, *events: ingest_pb2.Event, timeout_s: float = DEADLINE_S) -> ingest_pb2.RecordEventsResponse:
        return self.ingest.RecordEvents(
            ingest_pb2.RecordEventsRequest(events=events),
            metadata=(("authorization", f"Bearer {write_key}"),),
            timeout=timeout_s,
            wait_for_ready=True,
        )

    def newest_position(self, write_key: str) -> Position:
        """Everything that was answered before stands at or before it. The Segment protocol has no place for positions,
        so one more event asks: a knock by a device that nobody else uses."""
        knock = ingest_pb2.Event(
            type=ingest_pb2.EVENT_TYPE_TRACK, name="Knocked", anonymous_id=f"knock-{uuid.uuid4()}", message_id=str(uuid.uuid4())
        )
        return self.record(write_key, knock).position

    def resolve(
        self, namespace: str, value: str, fresh: Position | None = None, timeout_s: float = DEADLINE_S
    ) -> identity_pb2.ResolveIdentifierResponse:
        request = identity_pb2.ResolveIdentifierRequest(
            identifier=Identifier(namespace=namespace, value=value), at_least_as_fresh=fresh
        )
        return self.identity.ResolveIdentifier(request, timeout=timeout_s, wait_for_ready=True)

    def members(self, customer_id: str) -> Sequence[str]:
        """The ids of all that are one with it."""
        request = identity_pb2.GetCustomerRequest(customer_id=customer_id)
        return self.identity.GetCustomer(request, timeout=DEADLINE_S, wait_for_ready=True).customer.member_ids

    def matches(self, customer_id: str, fresh: Position) -> list[matching_pb2.CustomerMatch]:
        request = matching_pb2.ListMatchesRequest(customer=CustomerRef(customer_id=customer_id), at_least_as_fresh=fresh)
        return list(self.matching.ListMatches(request, timeout=DEADLINE_S, wait_for_ready=True).matches)

    def get_profile(
        self,
        customer: CustomerRef,
        purpose: str,
        *fresh: Position,
        valid_at: datetime | None = None,
        known_at: datetime | None = None,
        timeout_s: float = DEADLINE_S,
    ) -> profile_pb2.Profile:
        request = profile_pb2.GetProfileRequest(
            customer=customer,
            purpose=purpose,
            at_least_as_fresh=fresh,
            valid_at=timestamp(valid_at),
            known_at=timestamp(known_at),
        )
        return self.profile.GetProfile(request, timeout=timeout_s, wait_for_ready=True).profile

    def get_timeline(
        self,
        customer: CustomerRef,
        purpose: str,
        *fresh: Position,
        valid_at: datetime | None = None,
        known_at: datetime | None = None,
        kinds: tuple[str, ...] = (),
    ) -> list[profile_pb2.TimelineEntry]:
        """All pages of it, latest first."""
        request = profile_pb2.GetTimelineRequest(
            customer=customer,
            purpose=purpose,
            at_least_as_fresh=fresh,
            valid_at=timestamp(valid_at),
            known_at=timestamp(known_at),
            kinds=kinds,
            page_size=PAGE_ENTRIES,
        )
        entries: list[profile_pb2.TimelineEntry] = []
        while True:
            page = self.profile.GetTimeline(request, timeout=DEADLINE_S, wait_for_ready=True)
            entries += page.entries
            if not page.next_page_token:
                return entries
            request.page_token = page.next_page_token

    def decide(
        self, identifier: Identifier, purpose: str, outcome: consent_pb2.Outcome.ValueType, request_id: str = ""
    ) -> consent_pb2.RecordDecisionResponse:
        request = consent_pb2.RecordDecisionRequest(
            request_id=request_id or str(uuid.uuid4()), identifier=identifier, purpose=purpose, outcome=outcome, method="web-form"
        )
        return self.consent.RecordDecision(request, timeout=DEADLINE_S, wait_for_ready=True)


def by_identifier(namespace: str, value: str) -> CustomerRef:
    return CustomerRef(identifier=Identifier(namespace=namespace, value=value))


def by_id(customer_id: str) -> CustomerRef:
    return CustomerRef(customer_id=customer_id)


def timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    made = Timestamp()
    made.FromDatetime(moment)
    return made
