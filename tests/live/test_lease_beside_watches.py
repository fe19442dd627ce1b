"""Forty who watch everybody and read slowly don't keep a process from renewing its lease: what needs consent is served beside them."""

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence

import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2
from c360.ingest.v1 import ingest_pb2
from c360.profile.v1 import profile_pb2, profile_pb2_grpc, watch_pb2
from c360.profile.v1.watch_pb2_grpc import WatchServiceStub
from google.protobuf.struct_pb2 import Struct

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform

WATCHES, CUSTOMERS = 40, 900
AT_ONCE = 500  # events of a batch
SLOW_S = 0.02  # between two messages of a watch
PATIENCE_S = 300.0
BETWEEN_READS_S = 0.02
UNANSWERED_AT_MOST = 0.1  # of the reads: a machine may be too busy for a renewal
CITY = "Kiel"


@pytest.fixture
def platform(own_stack: Stack) -> Iterator[Platform]:
    """Of servers of its own: who watches everybody is told of all that other tests ever made, forty times."""
    with Platform(own_stack.endpoints) as platform:
        yield platform


def identify(user: str, **traits: str) -> ingest_pb2.Event:
    values = Struct()
    values.update(traits)
    return ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=user, traits=values, message_id=str(uuid.uuid4()))


def told_of(platform: Platform) -> tuple[Identifier, Sequence[str]]:
    """Somebody who has an address, and the ids of all that were recorded."""
    write_key, run = platform.register_source(f"crm-{uuid.uuid4().hex[:8]}"), uuid.uuid4().hex
    address = Identifier(namespace="email", value=f"anna.{run}@example.com")
    users = [f"{run}-{number}" for number in range(CUSTOMERS)]
    for first in range(0, CUSTOMERS, AT_ONCE):
        platform.record(write_key, *(identify(user, city=CITY) for user in users[first : first + AT_ONCE]))
    fresh: Position = platform.record(write_key, identify(f"{run}-anna", email=address.value, city=CITY)).position
    platform.get_profile(CustomerRef(identifier=address), "audit", fresh)
    return address, [platform.resolve("user_id", user, fresh).customer_id for user in users]


async def watched(address: str, number: int, wanted: Sequence[str]) -> set[str]:
    """Who of them a watch of everybody didn't tell of, on a channel of its own."""
    missing = set(wanted)
    async with grpc.aio.insecure_channel(address, options=[("c360.test", number)]) as channel:
        request = watch_pb2.WatchProfilesRequest(purpose="audit")
        async for response in WatchServiceStub(channel).WatchProfiles(request, timeout=PATIENCE_S, wait_for_ready=True):
            missing.difference_update(change.customer_id for change in response.changes)
            if not missing:
                break
            await asyncio.sleep(SLOW_S)
    return missing


async def read_until(address: str, request: profile_pb2.GetProfileRequest, ended: asyncio.Event) -> list[str]:
    """Why each wasn't answered; empty where it was."""
    reasons = list[str]()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = profile_pb2_grpc.ProfileServiceStub(channel)
        while not ended.is_set():
            try:
                await stub.GetProfile(request, timeout=DEADLINE_S)
                reasons.append("")
            except grpc.RpcError as error:
                reasons.append(reason_of(error))
            await asyncio.sleep(BETWEEN_READS_S)
    return reasons


async def test_what_needs_consent_is_served_while_forty_watch(own_stack: Stack, platform: Platform) -> None:
    email, wanted = await asyncio.to_thread(told_of, platform)
    purpose = await asyncio.to_thread(platform.define_purpose, "city")
    await asyncio.to_thread(platform.decide, email, purpose, consent_pb2.OUTCOME_GRANTED)
    request = profile_pb2.GetProfileRequest(customer=CustomerRef(identifier=email), purpose=purpose)
    assert (await asyncio.to_thread(platform.get_profile, request.customer, purpose)).traits["city"].value.string_value == CITY
    ended, address, began = asyncio.Event(), own_stack.endpoints.profile, time.monotonic()
    reading = asyncio.create_task(read_until(address, request, ended))
    try:
        missing = await asyncio.gather(*(watched(address, number, wanted) for number in range(WATCHES)))
    finally:
        ended.set()
        reasons = await reading
    assert not set().union(*missing), "each is told of all"
    assert set(reasons) <= {"", "CONSENT_NOT_CONFIRMED"}

    unanswered = sum(map(bool, reasons))
    assert unanswered <= UNANSWERED_AT_MOST * len(reasons), f"{unanswered} of {len(reasons)} in {time.monotonic() - began:.0f} s"
