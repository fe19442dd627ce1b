"""The Python client against two processes of each service: reads go to both, the rest to the one that serves, and it outlasts its end."""

import asyncio
import re
import signal
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import customer360_client as c360
import httpx
import pytest
from customer360_client.messages import EVENT_TYPE_IDENTIFY, OUTCOME_GRANTED, OUTCOME_WITHDRAWN, Event, Identifier, struct

from services.stack.ports import HOST, processes_of
from services.stack.probe import is_serving
from services.stack.stack import Stack
from shared.health import READS
from tests.e2e.client import PROOFS, Platform
from tests.e2e.pairs import TAKEOVER_S
from tests.live.channel_backend import Backend, operator_token_file, settings_of
from tests.stacks import fresh_stack
from tests.waiting import eventually

SERVICES = ("ingest", "identity", "profile", "consent")
PURPOSE = "service"
READ = re.compile(r'^c360_rpc_seconds_count\{code="OK",method="[^"]*GetProfile"\} ([\d.]+)', re.MULTILINE)


@pytest.fixture(scope="module")
def installation() -> Iterator[Stack]:
    with fresh_stack(services=SERVICES, replicas=2, auth="jwt") as stack:
        for process in (*processes_of("profile", 2), *processes_of("consent", 2)):
            eventually(partial(is_serving, f"{HOST}:{stack.ports[process]}", name=READS), TAKEOVER_S)
        yield stack


@pytest.fixture(scope="module")
def asking_consent(installation: Stack) -> Iterator[str]:
    """A purpose that does."""
    token = operator_token_file(installation).read_text().strip()
    proofs = {address: lambda: token for address in (installation.endpoints.profile, installation.endpoints.consent)}
    PROOFS.update(proofs)
    with Platform(installation.endpoints) as platform:
        yield platform.define_purpose("email", "city")
    for address in proofs:
        del PROOFS[address]


@pytest.fixture(params=[c360.Client, c360.AsyncClient])
def client(request: pytest.FixtureRequest, installation: Stack) -> Any:
    """Told of all processes."""
    both = {name: ",".join(f"{HOST}:{installation.ports[process]}" for process in processes_of(name, 2)) for name in SERVICES}
    addresses = c360.Addresses(*(f"ipv4:{both[name]}" for name in ("profile", "consent", "ingest")))
    return request.param(settings_of(installation, addresses=addresses))


def reads_at(stack: Stack, process: str) -> float:
    replica = process.removeprefix("profile")
    found = READ.search(httpx.get(f"http://{HOST}:{stack.ports[f'metrics_profile{replica}']}/metrics").text)
    return float(found[1]) if found else 0.0


async def test_reads_go_to_both_and_the_rest_to_who_serves_also_when_that_is_another(
    installation: Stack, asking_consent: str, client: Any
) -> None:
    email = Identifier(namespace="email", value=f"{uuid.uuid4().hex}@example.com")
    named, processes = c360.by_identifier("email", email.value), processes_of("profile", 2)
    event = Event(type=EVENT_TYPE_IDENTIFY, user_id=email.value, traits=struct({"email": email.value, "city": "Hull"}))
    async with Backend(client) as backend:
        await backend.record_events([event])
        before = {process: reads_at(installation, process) for process in processes}
        for _ in range(20):
            assert c360.traits_of(await backend.get_profile(named, PURPOSE))["email"] == email.value
        assert all(reads_at(installation, process) > before[process] for process in processes)

        for service in ("profile", "consent"):
            owner = installation.serving(service)
            assert owner is not None
            installation.take_down(owner, signal.SIGKILL)
            for outcome in (OUTCOME_GRANTED, OUTCOME_WITHDRAWN):
                await backend.get_profile(named, PURPOSE)
                await backend.record_decision(email, asking_consent, outcome, method="web-form")
                assert (await backend.check(named, asking_consent)).permitted is (outcome == OUTCOME_GRANTED)
            installation.bring_up(owner)
            await asyncio.to_thread(installation.wait_ready, owner)
