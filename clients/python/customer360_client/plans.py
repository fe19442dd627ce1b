"""The calls. Each is described here once; `Client` has them as they stand, `AsyncClient` to be awaited."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from customer360_client.caching import Cache
from customer360_client.calls import Call, Judged, same
from customer360_client.checking import Verdicts, judged
from customer360_client.credentials import Settings
from customer360_client.errors import ClientError
from customer360_client.messages import (
    CheckResponse,
    CustomerRef,
    Event,
    ExplainTraitResponse,
    GetTimelineResponse,
    Identifier,
    LookupCustomerResponse,
    NoticeShown,
    Position,
    Profile,
    RecordDecisionResponse,
    RecordEventsResponse,
    timestamp,
)
from customer360_client.positions import Positions
from customer360_client.protos.c360.consent.v1 import consent_pb2
from customer360_client.protos.c360.ingest.v1 import ingest_pb2
from customer360_client.protos.c360.profile.v1 import profile_pb2, rules_pb2
from customer360_client.reading import Profiles

PROFILE: Final = "/c360.profile.v1.ProfileService/"
CONSENT: Final = "/c360.consent.v1.ConsentService/"


class Plans:
    """Makes them, for one client. Of all: `timeout_s` is for the call as a whole, however often it is made again (default: that of
    the settings). Of reads: they include what this client wrote, and `fresh`, positions that others were told. Of reads that name a
    `purpose`: it is one that the caller may declare. Instants have time zones; without them it is now."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.timeout_s
        self.positions = Positions()
        caching = settings.caching
        self.profiles = Profiles(
            Cache(caching.profiles, caching.profile_bytes, time.monotonic), caching.profile_age_s, time.monotonic
        )
        self.verdicts = Verdicts(Cache(caching.verdicts, caching.profile_bytes, time.monotonic), time.monotonic, time.time)

    def get_profile(
        self,
        customer: CustomerRef,
        purpose: str,
        *,
        fields: Sequence[str] = (),
        valid_at: datetime | None = None,
        known_at: datetime | None = None,
        fresh: Iterable[Position] = (),
        timeout_s: float | None = None,
    ) -> Call[Profile]:
        """The golden profile, as far as the purpose and the person allow; `fields` such as "traits.email" are all that is asked for."""
        request = profile_pb2.GetProfileRequest(
            customer=customer,
            purpose=purpose,
            valid_at=timestamp(valid_at),
            known_at=timestamp(known_at),
            at_least_as_fresh=self.positions.newest(fresh),
            read_mask=FieldMask(paths=fields) if fields else None,
        )
        return self.profiles.one(PROFILE + "GetProfile", request, timeout_s or self._timeout_s)

    def batch_get_profiles(
        self,
        customers: Sequence[CustomerRef],
        purpose: str,
        *,
        fields: Sequence[str] = (),
        fresh: Iterable[Position] = (),
        timeout_s: float | None = None,
    ) -> Call[list[Profile | ClientError]]:
        """Of up to 100, in their order: a profile, or what `get_profile` would have raised."""
        request = profile_pb2.BatchGetProfilesRequest(
            queries=[profile_pb2.ProfileQuery(customer=customer) for customer in customers],
            purpose=purpose,
            at_least_as_fresh=self.positions.newest(fresh),
            read_mask=FieldMask(paths=fields) if fields else None,
        )
        return self.profiles.several(PROFILE + "BatchGetProfiles", request, timeout_s or self._timeout_s)

    def lookup_customer(
        self, customer: CustomerRef, purpose: str, *, fresh: Iterable[Position] = (), timeout_s: float | None = None
    ) -> Call[LookupCustomerResponse]:
        """Which customer it is, with nothing personal."""
        request = profile_pb2.LookupCustomerRequest(
            customer=customer, purpose=purpose, at_least_as_fresh=self.positions.newest(fresh)
        )
        return Call("profile", PROFILE + "LookupCustomer", request, LookupCustomerResponse, same, timeout_s or self._timeout_s)

    def get_timeline(
        self,
        customer: CustomerRef,
        purpose: str,
        *,
        kinds: Sequence[str] = (),
        names: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
        fresh: Iterable[Position] = (),
        timeout_s: float | None = None,
    ) -> Call[GetTimelineResponse]:
        """A page of what happened, latest first; `timeline` goes through all of them."""
        request = profile_pb2.GetTimelineRequest(
            customer=customer,
            purpose=purpose,
            kinds=kinds,
            names=names,
            since_time=timestamp(since),
            until_time=timestamp(until),
            page_size=page_size,
            page_token=page_token,
            at_least_as_fresh=self.positions.newest(fresh),
        )
        return Call("profile", PROFILE + "GetTimeline", request, GetTimelineResponse, same, timeout_s or self._timeout_s)

    def explain_trait(
        self,
        customer: CustomerRef,
        trait: str,
        purpose: str,
        *,
        page_token: str = "",
        fresh: Iterable[Position] = (),
        timeout_s: float | None = None,
    ) -> Call[ExplainTraitResponse]:
        """Why a trait has its value: what was said of it, what was chosen by which rule, and why each of the others was not."""
        request = rules_pb2.ExplainTraitRequest(
            customer=customer,
            trait=trait,
            purpose=purpose,
            page_token=page_token,
            at_least_as_fresh=self.positions.newest(fresh),
        )
        return Call(
            "profile",
            "/c360.profile.v1.ProfileRulesService/ExplainTrait",
            request,
            ExplainTraitResponse,
            same,
            timeout_s or self._timeout_s,
        )

    def check(
        self, customer: CustomerRef, purpose: str, *, fresh: Iterable[Position] = (), timeout_s: float | None = None
    ) -> Call[CheckResponse]:
        """Whether the person permits the purpose. The answer may be used until its `valid_until_time`."""
        told = list(fresh)
        request = consent_pb2.CheckRequest(customer=customer, purpose=purpose, at_least_as_fresh=self.positions.newest(told))
        return self.verdicts.one(CONSENT + "Check", request, timeout_s or self._timeout_s, anew=bool(told))

    def check_batch(
        self, customers: Sequence[CustomerRef], purpose: str, *, fresh: Iterable[Position] = (), timeout_s: float | None = None
    ) -> Call[list[CheckResponse | ClientError]]:
        """Of up to 1,000, in their order: a verdict, or what `check` would have raised."""
        request = consent_pb2.CheckBatchRequest(
            customers=customers, purpose=purpose, at_least_as_fresh=self.positions.newest(fresh)
        )
        return self.verdicts.several(CONSENT + "CheckBatch", request, timeout_s or self._timeout_s)

    def judge(
        self, customers: Sequence[CustomerRef], purpose: str, *, fresh: Iterable[Position] = (), timeout_s: float | None = None
    ) -> Call[list[Judged]]:
        """Of up to 1,000, in their order: who permits the purpose. `filter_audience` takes any number."""
        request = consent_pb2.FilterAudienceRequest(
            customers=customers, purpose=purpose, at_least_as_fresh=self.positions.newest(fresh)
        )
        timeout_s = timeout_s or self._timeout_s
        response = consent_pb2.FilterAudienceResponse
        return Call("consent", CONSENT + "FilterAudience", request, response, judged, timeout_s, streams=True)

    def record_decision(
        self,
        identifier: Identifier,
        purpose: str,
        outcome: consent_pb2.Outcome.ValueType,
        *,
        method: str,
        decided_at: datetime | None = None,
        confirmed: bool = False,
        attested_age: int = 0,
        notice: NoticeShown | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Call[RecordDecisionResponse]:
        """Answers once every reader enforces it. It has one effect, however often it is sent; a `request_id` of your own makes that
        hold over the end of this process too, and over an OutOfTime, whose error has it."""
        request_id = request_id or str(uuid.uuid4())
        request = consent_pb2.RecordDecisionRequest(
            request_id=request_id,
            identifier=identifier,
            purpose=purpose,
            outcome=outcome,
            decide_time=timestamp(decided_at),
            method=method,
            confirmed=confirmed,
            attested_age=attested_age,
            notice=notice,
        )
        self.verdicts.forget()

        def recorded(response: RecordDecisionResponse) -> RecordDecisionResponse:
            self.positions.note((response.position,))
            self.verdicts.forget()  # those that were made meanwhile too
            return response

        timeout_s = timeout_s or self._timeout_s
        method_name = CONSENT + "RecordDecision"
        return Call("consent", method_name, request, RecordDecisionResponse, recorded, timeout_s, request_id=request_id)

    def record_events(self, events: Sequence[Event], *, timeout_s: float | None = None) -> Call[RecordEventsResponse]:
        """Up to 2,500 of the source whose write key the settings have. Answers once they are durable, with a result each: those that
        are rejected raise nothing. Who has no message id gets one; each has one effect, however often it is sent."""
        sent = ingest_pb2.RecordEventsRequest(events=events, sent_time=timestamp(datetime.now(UTC)))
        for event in sent.events:
            event.message_id = event.message_id or str(uuid.uuid4())

        def recorded(response: RecordEventsResponse) -> RecordEventsResponse:
            self.positions.note((response.position,))
            self.verdicts.forget()  # events may bring decisions, and make two people one
            return response

        method = "/c360.ingest.v1.IngestService/RecordEvents"
        return Call("ingest", method, sent, RecordEventsResponse, recorded, timeout_s or self._timeout_s)
