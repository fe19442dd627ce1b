"""An erased person is nowhere: not in a table, a broker's file, a log or an export, not opened by any key that is left, and
no view that is made anew brings anything back."""

import asyncio
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.consent.v1 import consent_pb2
from c360.identity.v1 import identity_pb2 as pb
from c360.profile.v1 import profile_pb2

from services.profile.tables.editions import VIEWS
from services.profile.tables.snapshots import SNAPSHOT_EVERY
from services.stack.settings import whole_environment
from services.stack.stack import Stack
from shared.events import customer as events
from shared.events.catalogue import encode
from shared.instants import now_us
from shared.log.records import COLUMNS, to_record
from shared.rpc.errors import reason_of
from shared.vault.vault import EPOCH_US, epoch_owner
from tests.e2e.client import DEADLINE_S, Platform, by_id, by_identifier
from tests.e2e.leaks import places_of
from tests.live.erasing import COMPLETED, REFUSE, START_CLEAN, Person, erase, identify, never_again, rows, track
from tests.live.parking import park_message
from tests.live.readable import places_that_open

EVENTS_DURING = 150
BATCH = 100


async def test_nothing_of_an_erased_person_is_left_anywhere_and_no_rebuild_brings_it_back(own_stack: Stack) -> None:
    person, neighbour = Person(), Person()
    with Platform(own_stack.endpoints) as platform:
        key = platform.register_source("erasure")
        neighbour.live(platform, key)
        position = person.live(platform, key)
        for _ in range(SNAPSHOT_EVERY // BATCH + 1):
            position = platform.record(key, *(track(person.note, user_id=person.user) for _ in range(BATCH))).position
        customer = platform.resolve("email", person.email, position).customer_id
        seen = platform.get_profile(by_id(customer), "audit", position)
        platform.matches(customer, position)  # what was said of her is compared by then
        before = datetime.now(UTC)
        platform.get_profile(by_id(customer), "audit", known_at=before)
        platform.decide(person.email_identifier(), "marketing", consent_pb2.OUTCOME_GRANTED)
        park(own_stack, platform.members(customer))
        park_message(own_stack, epoch_owner(now_us() - 3 * EPOCH_US), person)
        assert set(await places_that_open(own_stack, person.canaries)) >= {
            "identity.events",
            "identity.outbox",
            "identity.records",
            "profile.events",
            "profile.states",
            "profile.snapshots",
            "profile.parked",
            "identity.parked",
            "stream INGEST",
            "stream CUSTOMER",
        }, "else the search afterwards proves nothing"
        erasure = erase(platform, person, fresh=position)
        assert erasure.stage == COMPLETED

        def exported() -> str:
            past = platform.get_profile(by_id(customer), "audit", known_at=before)
            assert past.version == seen.version
            return str(past) + str(platform.get_timeline(by_id(customer), "audit")) + erasure.certificate

        await assert_gone(own_stack, person, exported())
        views = {view: rows(own_stack, "c360", f"SELECT * FROM profile.{view} ORDER BY 1, 2") for view in VIEWS}
        rebuild(own_stack)
        assert views["snapshots"] == []
        for view, held in views.items():
            assert without_envelopes(rows(own_stack, "c360", f"SELECT * FROM profile.{view} ORDER BY 1, 2")) == without_envelopes(
                held
            )
        follow_anew(own_stack)
        await assert_gone(own_stack, person, exported())
        check = consent_pb2.CheckRequest(customer=CustomerRef(identifier=person.email_identifier()), purpose="marketing")
        assert platform.consent.Check(check, timeout=DEADLINE_S, wait_for_ready=True).reason == "CONSENT_MISSING"
        never_again(own_stack, erasure)
        assert platform.get_profile(by_identifier("email", neighbour.email), "audit").traits["first_name"].value.string_value


async def assert_gone(stack: Stack, person: Person, export: str) -> None:
    assert [canary for canary in person.canaries if canary in export] == []
    assert await places_that_open(stack, person.canaries) == []
    assert places_of(stack, person.canaries) == []


def park(stack: Stack, members: Sequence[str]) -> None:
    """As profile sets aside what it can't apply: an event of hers, sealed as it came."""
    streams = [uuid.UUID(member).bytes for member in members]
    query = f"SELECT {COLUMNS} FROM profile.events WHERE stream = ANY(%s) AND type_id = %s"
    entry = to_record(rows(stack, "c360", query, streams, events.TRACKED.id)[0]).entry
    with psycopg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360") as admin:
        admin.execute(
            """INSERT INTO profile.parked (parked_id, stream, sequence, part, event_id, type_id, schema_version, customer, reason, data,
                                           run, parked_at)
               VALUES (%s, 'CUSTOMER', 1, 0, %s, %s, 1, %s, 'x', %s, 0, 1)""",
            [entry.event_id, entry.event_id, entry.type_id, entry.stream, encode(entry)],
        )


def rebuild(stack: Stack) -> None:
    """While the service runs."""
    environment = whole_environment(stack.environment_of("profile"))
    command = [sys.executable, "-m", "services.profile.rebuild"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert (done.stdout[:24], done.stdout.count("\n")) == ("the views are made anew:", 1), "progress is for a terminal"


def without_envelopes(table: list[Any]) -> list[Any]:
    """Sealed twice, the same state looks different; whether there is one doesn't."""
    return [tuple(bool(cell) if isinstance(cell, bytes) and len(cell) != 16 else cell for cell in row) for row in table]


def follow_anew(stack: Stack) -> None:
    """Consent's view of who is who is made from CUSTOMER: from its first message once more."""
    with psycopg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360") as admin:
        admin.execute("TRUNCATE consent.links, consent.customers, consent.edges, consent.erased_identifiers")
        admin.execute("UPDATE consent.customer_head SET consumed = 0")
    stack.kill("consent")
    stack.wait_ready("consent")


@pytest.mark.parametrize("policy", [REFUSE, START_CLEAN], ids=["refuse", "start_clean"])
async def test_a_person_is_erased_while_events_about_her_keep_coming(own_stack: Stack, policy: pb.ReimportPolicy.ValueType) -> None:
    person = Person()
    with Platform(own_stack.endpoints) as platform:
        key = platform.register_source("erasure")
        position = person.live(platform, key)
        sender = threading.Thread(target=keep_sending, args=(platform, key, person))
        sender.start()
        erasure = erase(platform, person, policy, position)
        sender.join()
        platform.record(key, identify({"email": person.email, "first_name": person.name}, user_id=person.user))
        end = platform.newest_position(key)
        assert erasure.stage == COMPLETED
        never_again(own_stack, erasure)
        request = pb.GetErasureRequest(request_id=erasure.request_id)
        await asyncio.to_thread(wait_until_read, platform, end)
        refused = platform.identity.GetErasure(request, timeout=DEADLINE_S).erasure.refused_events
        before = sum(entry.kind == "identified" for entry in platform.get_timeline(by_id(erasure.customer_id), "audit"))
        later = new_customers_events(platform, person, erasure, policy)
        assert refused + before + later >= EVENTS_DURING, "each event was stored before, dropped and counted, or started clean"


def keep_sending(platform: Platform, key: str, person: Person) -> None:
    for number in range(EVENTS_DURING):
        platform.record(key, identify({"email": person.email, "first_name": person.name, "n": number}, user_id=person.user))


def wait_until_read(platform: Platform, end: Any) -> None:
    with pytest.raises(grpc.RpcError):
        platform.get_profile(by_identifier("anonymous_id", "nobody-at-all"), "audit", end)


def new_customers_events(platform: Platform, person: Person, erasure: pb.Erasure, policy: pb.ReimportPolicy.ValueType) -> int:
    """Of the customer that the person is now."""
    if policy == REFUSE:
        with pytest.raises(grpc.RpcError) as unknown:
            platform.resolve("email", person.email)
        assert reason_of(unknown.value) == "IDENTIFIER_UNKNOWN"
        return 0
    found = platform.resolve("email", person.email)
    assert found.customer_id not in erasure.erased_customer_ids
    return sum(entry.kind == "identified" for entry in platform.get_timeline(by_id(found.customer_id), "audit"))


def test_who_watches_a_person_is_told_of_the_erasure(own_stack: Stack) -> None:
    person = Person()
    with Platform(own_stack.endpoints) as platform:
        key = platform.register_source("erasure")
        position = person.live(platform, key)
        customer = platform.resolve("email", person.email, position).customer_id
        platform.get_profile(by_id(customer), "audit", position)
        request = profile_pb2.WatchProfileRequest(customer=by_id(customer), purpose="audit")
        watch = platform.profile.WatchProfile(request, timeout=DEADLINE_S)
        assert next(watch).profile.traits
        erase(platform, person)
        with pytest.raises(grpc.RpcError) as ended:
            for _ in watch:
                pass
        assert reason_of(ended.value) == "CUSTOMER_ERASED"


def test_keys_that_a_backup_brings_back_are_destroyed_again(own_stack: Stack) -> None:
    person = Person()
    with Platform(own_stack.endpoints) as platform:
        key = platform.register_source("erasure")
        position = person.live(platform, key)
        platform.resolve("email", person.email, position)
        backup = rows(own_stack, "c360_vault", "SELECT owner, wrapped, key_id FROM vault.data_keys WHERE wrapped IS NOT NULL")
        erasure = erase(platform, person)
        with psycopg.connect(own_stack.admin_url.rsplit("/", 1)[0] + "/c360_vault") as admin:
            for owner, wrapped, key_id in backup:
                admin.execute(
                    "UPDATE vault.data_keys SET wrapped = %s, key_id = %s, destroyed_at = NULL WHERE owner = %s",
                    [wrapped, key_id, owner],
                )
        own_stack.kill("identity")
        own_stack.wait_ready("identity")
        held = pb.GetErasureRequest(request_id=erasure.request_id)
        platform.identity.GetErasure(held, timeout=DEADLINE_S, wait_for_ready=True)
        wait_for_log(own_stack.data_directory / "logs" / "identity.log", "keys of erased customers were back")
        never_again(own_stack, erasure)


def wait_for_log(path: Path, text: str) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while text not in path.read_text():
        assert time.monotonic() < give_up_at, text
        time.sleep(0.05)
