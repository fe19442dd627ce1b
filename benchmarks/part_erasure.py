"""Erasure through the whole system: from the request to the signed certificate, for a customer with a thousand events."""

import asyncio
import uuid

from c360.ingest.v1 import ingest_pb2

from benchmarks.harness import Result, at_most, timed_thread
from services.stack import ports
from services.stack.stack import Stack
from tests.e2e.client import Platform
from tests.live.erasing import Person, erase, track

SERVICES = ports.SERVICES
EVENTS = 1_000
BATCH = 100
CUSTOMERS = 5
LIMIT_S = 2.0


async def measure(servers: Stack) -> list[Result]:
    samples = [await asyncio.to_thread(_one_customer, servers) for _ in range(CUSTOMERS)]
    return [at_most("erasure_of_1000_events", samples, "s", LIMIT_S)]


def _one_customer(servers: Stack) -> float:
    person = Person()
    with Platform(servers.endpoints) as platform:
        key = platform.register_source(f"bench-{uuid.uuid4().hex[:8]}")
        position = person.live(platform, key)
        for _ in range(EVENTS // BATCH):
            position = platform.record(key, *(_event(person) for _ in range(BATCH))).position
        platform.resolve("email", person.email, position)
        seconds = asyncio.run(timed_thread(lambda: erase(platform, person, fresh=position, request_id=person.run)))
        certificate = erase(platform, person, request_id=person.run).certificate
        assert f'"identifiers": {len(person.devices) + 2}' in certificate, "the whole person"
        assert int(certificate.split('"checked": ')[1].split(",")[0]) > EVENTS, "every event was read again"
        return seconds


def _event(person: Person) -> ingest_pb2.Event:
    return track(person.note, user_id=person.user)
