"""What waits in the quarantine and names somebody who was, or is to be, erased; and giving it up by hand."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from c360.ingest.v1 import ingest_pb2 as pb
from c360.ingest.v1 import plan_pb2, plan_pb2_grpc, receipt_pb2_grpc

from services.ingest.domain.plan import Finding
from services.ingest.quarantine import Quarantine, Quarantined
from services.stack.stack import Stack
from shared.events.wire import RawEvent, event_id_of
from shared.identifiers import hash_of, normalise
from shared.instants import now_us
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from tests.e2e.client import Platform
from tests.live.command import Command
from tests.live.test_receipts import Desk, seen

NOTHING_IS_PLANNED = json.dumps({"events": {}, "rules": {"unplanned_event": "quarantine"}})
WHY = ("--reason", "GDPR Art. 17, ticket 1", "--by", "privacy-desk")


@pytest.fixture
def desk(stack: Stack) -> Iterator[Desk]:
    """A source of which everything waits."""
    with Platform(stack.endpoints) as platform, grpc.insecure_channel(stack.endpoints.ingest) as channel:
        source = f"desk-{uuid.uuid4()}"
        key = platform.register_source(source)
        request = plan_pb2.PublishPlanRequest(request_id=source, source=source, document=NOTHING_IS_PLANNED)
        plan_pb2_grpc.PlanServiceStub(channel).PublishPlan(request, timeout=10)
        yield Desk(platform, receipt_pb2_grpc.ReceiptServiceStub(channel), source, key)


@pytest.fixture
def c360(stack: Stack) -> Command:
    return Command(Path(stack.data_directory))


def waiting(c360: Command, desk: Desk) -> set[str]:
    return {event["message_id"] for event in c360.json("plans", "quarantine", desk.source)["events"]}


def test_whom_only_the_quarantine_knows_is_erased_and_held_no_more(c360: Command, desk: Desk, tmp_path: Path) -> None:
    person = f"u-{uuid.uuid4()}"
    desk.send(seen("hers", person), seen("others"))
    erased = c360.json("customer", "erase", f"user_id:{person}", *WHY, "--yes", "-o", str(tmp_path / "certificate.txt"))
    assert (erased["stage"], erased["customer_id"], erased["erased_customer_ids"]) == ("completed", "", [])
    certified = json.loads(erased["certificate"].split("\n", 1)[1].split("\n\n")[0])
    assert certified["scope"] == {"customer_ids": [], "identifiers": 1}
    assert {"store": "ingest.quarantine", "purged": 1} in certified["stores"]
    [kept] = [exception for exception in certified["exceptions"] if exception["what"] == "quarantine_leftovers"]
    assert kept["amount"] >= 1
    assert kept["until"] > certified["certified_at"]
    assert waiting(c360, desk) == {"others"}
    assert desk.send(seen("again", person)).results[0].status == pb.EVENT_STATUS_QUARANTINED  # as it answers anybody
    assert waiting(c360, desk) == {"others"}
    receipt = desk.receipt("again")
    assert (receipt.status, list(receipt.reasons)) == (pb.EVENT_STATUS_REJECTED, ["PROCESSING_REFUSED"])
    assert "IDENTIFIER_UNKNOWN" in c360.run("customer", "erase", f"user_id:{person}", *WHY, "--yes", code=1).stderr


def test_what_waits_is_given_up_by_hand_and_its_receipt_says_so(c360: Command, desk: Desk) -> None:
    desk.send(seen("wrong"), seen("right"))
    assert c360.json("plans", "discard", desk.source, "wrong", "unknown", *WHY, code=1) == [
        {"message_id": "wrong", "outcome": "discarded"},
        {"message_id": "unknown", "outcome": "not waiting"},
    ]
    assert waiting(c360, desk) == {"right"}
    receipt = desk.receipt("wrong")
    assert (receipt.status, list(receipt.reasons)) == (pb.EVENT_STATUS_REJECTED, ["DISCARDED"])
    assert desk.reason("unknown") == "RECEIPT_UNKNOWN"
    assert "REASON_INVALID" in c360.run("plans", "discard", desk.source, "right", "--reason", "", "--by", "me", code=1).stderr


async def test_of_who_started_clean_only_the_past_is_not_held(stack: Stack, desk: Desk) -> None:
    """And who was refused once stays so."""
    settings = stack.environment_of("ingest")
    pool, vault_pool = (
        await open_pool(settings["C360_DATABASE_URL"], "ingest"),
        await open_pool(settings["C360_VAULT_URL"], "vault"),
    )
    vault = Vault(vault_pool, FileKeyring(Path(settings["C360_KEYRING_FILE"])))
    quarantine = Quarantine(pool, vault, now_us)
    person = f"u-{uuid.uuid4()}"
    hashes, erased_at = [hash_of(normalise("user_id", person), vault.lookup_key)], now_us() - 1_000

    def event(message_id: str, occurred_at: int) -> Quarantined:
        found = RawEvent(
            kind="track",
            message_id=message_id,
            source=desk.source,
            user_id=person,
            name="e",
            occurred_at=occurred_at,
            received_at=now_us(),
        )
        return Quarantined(found, b"x" * 10, 1, (Finding("UNPLANNED_EVENT", "quarantine"),))

    old, new = event_id_of(desk.source, "old"), event_id_of(desk.source, "new")
    try:
        await quarantine.erase(hashes, "start_clean", erased_at)
        held = await quarantine.put([event("old", erased_at), event("new", erased_at + 1)])
        assert (held.added, held.refused) == ({new}, {old})
        assert await quarantine.erase(hashes, "refuse", erased_at) == 1
        await quarantine.erase(hashes, "start_clean", erased_at)
        assert (await quarantine.put([event("new", erased_at + 1)])).refused == {new}
    finally:
        await pool.close()
        await vault_pool.close()
