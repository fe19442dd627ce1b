"""How long it takes from the answer `accepted` until a read that asks for that position is answered, over gRPC."""

import asyncio
import time
from typing import Any

import grpc
from c360.common.v1.common_pb2 import Position
from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1.profile_pb2_grpc import ProfileServiceStub
from google.protobuf.struct_pb2 import Struct

from services.stack.stack import Stack
from tests.e2e.client import DEADLINE_S, by_identifier

BATCH = 20
ASKED = 4  # one batch in so many is waited for
USERS = 2_000


async def freshness(stack: Stack, events_per_s: float, seconds: float) -> list[float]:
    """Milliseconds of each batch that was waited for, while events come at that rate."""
    key = await asyncio.to_thread(stack.write_key)
    samples: list[float] = []
    async with (
        grpc.aio.insecure_channel(stack.endpoints.ingest) as door,
        grpc.aio.insecure_channel(stack.endpoints.profile) as reads,
    ):
        sources, profiles = ingest_pb2_grpc.IngestServiceStub(door), ProfileServiceStub(reads)

        async def send(number: int) -> None:
            request = ingest_pb2.RecordEventsRequest(events=[_event(number, place) for place in range(BATCH)])
            answer = await sources.RecordEvents(request, metadata=(("authorization", f"Bearer {key}"),), timeout=DEADLINE_S)
            if number >= 0 and number % ASKED == 0:
                samples.append(await _seen_ms(profiles, _fresh(_user(number, 0), answer.position)))

        for number in range(USERS // BATCH):  # everybody is known before it begins
            await send(-1 - number)
        await profiles.GetProfile(_fresh(_user(-1, 0), await _newest(sources, key)), timeout=DEADLINE_S)
        began, sending = time.perf_counter(), []
        for number in range(int(seconds * events_per_s / BATCH)):
            await asyncio.sleep(max(0.0, began + number * BATCH / events_per_s - time.perf_counter()))
            sending.append(asyncio.create_task(send(number)))
        await asyncio.gather(*sending)
    return samples


async def _newest(sources: Any, key: str) -> Position:
    request = ingest_pb2.RecordEventsRequest(events=[_event(-1, 0)])
    answer = await sources.RecordEvents(request, metadata=(("authorization", f"Bearer {key}"),), timeout=DEADLINE_S)
    position: Position = answer.position
    return position


def _user(number: int, place: int) -> str:
    return f"user-{(number * BATCH + place) % USERS}"


def _event(number: int, place: int) -> ingest_pb2.Event:
    """As a shop sends them: three orders, then what became known of the person."""
    message_id, user, content = f"{time.time_ns()}-{number}-{place}", _user(number, place), Struct()
    if place % 4 == 3:
        content.update({"first_name": "Ann", "tier": f"tier {number}", "vip": True})
        return ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=user, traits=content, message_id=message_id)
    content.update({"order_id": f"o-{number}", "total": 59.4, "currency": "EUR"})
    return ingest_pb2.Event(
        type=ingest_pb2.EVENT_TYPE_TRACK, name="Order Completed", user_id=user, properties=content, message_id=message_id
    )


def _fresh(user: str, position: Position) -> pb.GetProfileRequest:
    return pb.GetProfileRequest(customer=by_identifier("user_id", user), purpose="audit", at_least_as_fresh=[position])


async def _seen_ms(profiles: Any, request: pb.GetProfileRequest) -> float:
    started = time.perf_counter()
    await profiles.GetProfile(request, timeout=DEADLINE_S)
    return (time.perf_counter() - started) * 1_000
