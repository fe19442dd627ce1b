"""The TypeScript client against everything: Node's test runner runs its own tests, while services are killed and answers get lost."""

import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator

import msgspec
import pytest
from c360.common.v1 import common_pb2
from c360.consent.v1 import consent_pb2
from c360.ingest.v1 import ingest_pb2
from c360.profile.v1 import profile_pb2

from services.stack.stack import Stack
from tests.e2e.client import PROOFS, Platform
from tests.live.certificates import Authority
from tests.live.channel_backend import DEADLINE_S, LosesAnswers, operator_token_file
from tests.live.doorman import door_of
from tests.live.typescript_client import FOLDER, NODE_MISSING, build, has_node, run_tests, taking_orders
from tests.stacks import fresh_stack

pytestmark = pytest.mark.skipif(not has_node(), reason=NODE_MISSING)


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    build()


@pytest.fixture(scope="module")
def installation() -> Iterator[Stack]:
    """It lets in who proves who they are."""
    with fresh_stack(auth="jwt") as stack:
        yield stack


@pytest.fixture(scope="module")
def platform(installation: Stack) -> Iterator[Platform]:
    endpoints = installation.endpoints
    token = operator_token_file(installation).read_text().strip()
    proofs = {address: lambda: token for address in (endpoints.profile, endpoints.consent)}
    PROOFS.update(proofs)
    with Platform(endpoints) as platform:
        yield platform
    for address in proofs:
        del PROOFS[address]


@pytest.fixture(scope="module")
def described(installation: Stack, platform: Platform) -> Iterator[dict[str, object]]:
    """As the tests of Node are told of it."""

    def bring_up(service: str) -> None:
        installation.bring_up(service)
        installation.wait_ready(service)

    deeds: dict[str, Callable[[str], None]] = {
        "kill": installation.kill,
        "take-down": lambda service: installation.take_down(service, signal.SIGKILL),
        "bring-up": bring_up,
    }
    endpoints = installation.endpoints
    with taking_orders(deeds) as control:
        yield {
            "addresses": {"profile": endpoints.profile, "consent": endpoints.consent, "ingest": endpoints.ingest},
            "tokenFile": str(operator_token_file(installation)),
            "writeKey": installation.write_key(),
            "askingConsent": platform.define_purpose("email", "city"),
            "control": control,
        }


def ran_here(example: str, installation: Stack, email: str) -> str:
    """What an example of the page prints, with this installation in place of the shown one."""
    assert f"```typescript\n{(FOLDER / 'examples' / f'{example}.ts').read_text()}```" in (FOLDER / "README.md").read_text()
    code = (FOLDER / "build" / "examples" / f"{example}.js").read_text()
    endpoints = installation.endpoints
    addresses = {"profile": endpoints.profile, "consent": endpoints.consent, "ingest": endpoints.ingest}
    for shown, here in {
        ".data/": f"{installation.data_directory}/",
        'addresses: { profile: "127.0.0.1:50053" }, ': "",
        "new Customer360({": f"new Customer360({{ addresses: {json.dumps(addresses)},",
        "wk_K5x...": installation.write_key(),
        "ada@example.com": email,
        '"ada"': f'"{email}"',
    }.items():
        code = code.replace(shown, here)
    (page := FOLDER / "build" / "examples" / f"{uuid.uuid4().hex}.js").write_text(code)
    ran = subprocess.run(("node", page), capture_output=True, text=True, timeout=DEADLINE_S)
    page.unlink()
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


async def test_the_examples_of_its_page_run(installation: Stack, platform: Platform) -> None:
    """Somebody who was recorded by the one is told by the other."""
    email = f"{uuid.uuid4().hex}@example.com"
    assert ran_here("record", installation, email) == "true\nAda\n"
    ada = common_pb2.CustomerRef(identifier=common_pb2.Identifier(namespace="email", value=email))
    customer = platform.get_profile(ada, "service")
    assert ran_here("ask", installation, email) == f"Ada is customer {customer.customer_id}\n"


def environment_of(described: dict[str, object], **addresses: str) -> dict[str, str]:
    usual = described["addresses"]
    assert isinstance(usual, dict)
    return {"C360_TEST_INSTALLATION": msgspec.json.encode(described | {"addresses": usual | addresses}).decode()}


async def test_it_reads_what_it_wrote_and_is_told_why_it_may_not(described: dict[str, object]) -> None:
    await run_tests("reading", **environment_of(described))


async def test_calls_and_watches_outlast_services_that_are_killed(described: dict[str, object]) -> None:
    await run_tests("kills", **environment_of(described))


async def test_tokens_and_keys_that_are_not_good_are_refused(described: dict[str, object]) -> None:
    await run_tests("credentials", **environment_of(described))


async def test_a_write_whose_answers_are_lost_has_one_effect_and_what_is_at_hand_is_not_sent(
    described: dict[str, object], installation: Stack, platform: Platform
) -> None:
    endpoints = installation.endpoints
    async with (
        LosesAnswers(endpoints.consent, 2) as consent,
        LosesAnswers(endpoints.ingest, 2) as ingest,
        LosesAnswers(endpoints.profile, 0) as profile,
    ):
        addresses = {"consent": consent.address, "ingest": ingest.address, "profile": profile.address}
        await run_tests("lost", **environment_of(described, **addresses))
    decisions = [consent_pb2.RecordDecisionRequest.FromString(request) for request in consent.requests]
    assert (len(decisions), len({decision.request_id for decision in decisions})) == (3, 1)
    ours = common_pb2.Identifier(namespace="email", value=decisions[0].identifier.value)
    listed = platform.consent.ListDecisions(consent_pb2.ListDecisionsRequest(identifier=ours), timeout=DEADLINE_S)
    assert len(listed.decisions) == 1
    first, second, third, *_ = (ingest_pb2.RecordEventsRequest.FromString(request).events[0] for request in ingest.requests)
    assert first.message_id == second.message_id == third.message_id
    answers = [
        profile_pb2.GetProfileResponse.FromString(answer)
        for method, request, answer in profile.told
        if method.endswith("/GetProfile") and profile_pb2.GetProfileRequest.FromString(request).unless_etag
    ]
    assert [(answer.not_modified, answer.HasField("profile")) for answer in answers] == [(True, False)] * 2


async def test_over_tls_it_shows_its_certificate_and_tells_nothing_to_whom_another_authority_has_issued() -> None:
    authority = Authority("ours")
    key, certificate = authority.issue("mailer.internal")
    told = {"key": key, "certificate": certificate, "root": authority.pem, "otherRoot": Authority("theirs").pem}
    async with door_of(authority) as (doorman, address):
        await run_tests("tls", C360_TEST_DOOR=msgspec.json.encode(told | {"address": address}).decode())
    assert doorman.came == ["Bearer mine"]
