"""An auditor's replay, through the eventsourcing library, is a witness of what is served."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.identity.v1 import identity_pb2
from c360.ingest.v1 import ingest_pb2 as ingest
from c360.profile.v1 import profile_pb2 as pb
from google.protobuf.struct_pb2 import Struct

from services.profile.domain.state import State
from services.profile.tables.states import state_binding
from services.stack.stack import Stack
from shared.events.catalogue import encode
from shared.ids import from_text
from shared.rpc.errors import reason_of
from shared.vault import FileKeyring, Vault
from tests.e2e.client import DEADLINE_S, Platform, by_id, by_identifier


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


def identify(user_id: str, anonymous_id: str = "", **traits: str) -> ingest.Event:
    values = Struct()
    values.update(traits)
    return ingest.Event(
        type=ingest.EVENT_TYPE_IDENTIFY, user_id=user_id, anonymous_id=anonymous_id, traits=values, message_id=str(uuid.uuid4())
    )


def replay(platform: Platform, customer: CustomerRef, purpose: str = "audit") -> tuple[list[pb.ReplayStep], pb.ReplayOutcome]:
    answers = list(
        platform.profile.ReplayCustomer(
            pb.ReplayCustomerRequest(customer=customer, purpose=purpose), timeout=DEADLINE_S, wait_for_ready=True
        )
    )
    return [answer.step for answer in answers[:-1]], answers[-1].outcome


@pytest.fixture
def person(platform: Platform) -> str:
    """Two customers that were merged, with four events of sources."""
    name = f"person-{uuid.uuid4().hex[:12]}"
    key = platform.register_source(f"replay-{name}")
    device = ingest.Event(type=ingest.EVENT_TYPE_TRACK, name="Seen", anonymous_id=f"{name}-device", message_id=str(uuid.uuid4()))
    platform.record(key, device, identify(name, city="Kiel"))
    platform.record(key, identify(name, anonymous_id=f"{name}-device", tier="gold"))
    position = platform.record(key, identify(name, city="Bremen")).position
    platform.get_profile(by_identifier("user_id", name), "audit", position)
    return name


def test_every_version_of_every_member_is_replayed_and_agrees_with_what_is_served(platform: Platform, person: str) -> None:
    customer = by_identifier("user_id", person)
    served = platform.get_profile(customer, "audit")
    steps, outcome = replay(platform, customer)
    assert outcome.agrees
    assert (outcome.state_hash, outcome.customer_id, outcome.version) == (served.state_hash, served.customer_id, served.version)
    assert len(served.member_ids) == 2
    for member in served.member_ids:
        versions = [step.version for step in steps if step.customer_id == member]
        assert versions == list(range(1, len(versions) + 1))
    assert [step.kind for step in steps].count("merged") == 2


def test_a_replay_needs_the_customers_consent_like_any_read(platform: Platform, person: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        replay(platform, by_identifier("user_id", person), "marketing")
    assert reason_of(refused.value) == "CONSENT_MISSING"


def test_the_command_prints_each_version_and_the_outcome(stack: Stack, person: str) -> None:
    command = [str(Path(sys.executable).parent / "c360"), "profile", "replay", f"user_id:{person}", "--purpose", "audit"]
    environment = os.environ | {"C360_DATA_DIR": str(stack.data_directory)}
    lines = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert json.loads(lines[-1])["agrees"] is True
    assert {json.loads(line)["kind"] for line in lines[:-1]} >= {"founded", "linked", "merged", "identified"}
    assert "Kiel" not in "".join(lines)
    table = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "agrees" in table


def test_who_may_read_the_past_may_replay_an_erased_customer_and_sees_nothing_personal(
    stack: Stack, platform: Platform, person: str
) -> None:
    customer = platform.get_profile(by_identifier("user_id", person), "audit").customer_id
    before, _ = replay(platform, by_id(customer))
    request = identity_pb2.EraseCustomerRequest(
        request_id=person, customer=CustomerRef(customer_id=customer), policy=identity_pb2.REIMPORT_POLICY_REFUSE, reason="asked"
    )
    assert platform.identity.EraseCustomer(request, timeout=DEADLINE_S).erasure.certificate
    steps, outcome = replay(platform, by_id(customer))
    assert outcome.agrees
    assert len(steps) == len(before) + 2  # the end of both streams
    assert {step.kind for step in steps if not step.redacted} == {"founded", "merged", "erased"}
    with pytest.raises(grpc.RpcError) as refused:
        replay(platform, by_id(customer), "marketing")
    assert reason_of(refused.value) == "CUSTOMER_ERASED"
    history = [str(Path(sys.executable).parent / "c360"), "profile", "timeline", customer, "--purpose", "audit", "--details"]
    environment = os.environ | {"C360_DATA_DIR": str(stack.data_directory)}
    shown = subprocess.run(history, env=environment, capture_output=True, text=True, check=True).stdout
    assert "identified (redacted)" in shown
    assert "Kiel" not in shown


async def test_a_served_state_that_the_log_does_not_give_is_found(stack: Stack, platform: Platform, person: str) -> None:
    customer = by_identifier("user_id", person)
    member = from_text(platform.get_profile(customer, "audit").member_ids[0], "customer")
    settings = stack.environment_of("profile")
    pool = await asyncpg.create_pool(settings["C360_VAULT_URL"], min_size=1, max_size=1)
    key = await Vault(pool, FileKeyring(Path(settings["C360_KEYRING_FILE"]))).key(member)
    assert key is not None
    admin = await asyncpg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360")
    row = await admin.fetchrow("SELECT envelope, version, pos, fold FROM profile.states WHERE stream = $1", member)
    true, place = row["envelope"], state_binding(member, row["version"], row["pos"], row["fold"])
    update = "UPDATE profile.states SET envelope = $2 WHERE stream = $1"
    await admin.execute(update, member, key.seal(encode(State(founding_number=0)), place))
    restart(stack)
    try:
        _, outcome = replay(platform, customer)
        assert not outcome.agrees
    finally:
        await admin.execute(update, member, true)
        restart(stack)
        await admin.close()
        await pool.close()
    assert replay(platform, customer)[1].agrees


def restart(stack: Stack) -> None:
    stack.kill("profile")
    stack.wait_ready("profile")
