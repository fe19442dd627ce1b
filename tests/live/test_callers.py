"""Callers on the whole stack: who has no token is let in nowhere, `c360` finds the operator's, and a caller that is defined does what it may."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import jwt
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import consent_pb2, consent_pb2_grpc, registry_pb2, registry_pb2_grpc
from c360.identity.v1 import decision_pb2, decision_pb2_grpc, identity_pb2, identity_pb2_grpc, rules_pb2, rules_pb2_grpc
from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from c360.profile.v1 import profile_pb2, profile_pb2_grpc, segment_pb2, segment_pb2_grpc

from services.stack.stack import Stack
from shared.instants import SECOND, now_us, to_timestamp
from shared.local_tokens import AHEAD_S, LocalIssuer
from shared.rpc.errors import reason_of
from tests.stacks import fresh_stack
from tests.waiting import eventually

TIMEOUT_S = 30.0
C360 = str(Path(sys.executable).parent / "c360")
ENDS = to_timestamp(now_us() + 3600 * SECOND)
SOMEBODY = CustomerRef(identifier=Identifier(namespace="email", value="ada@example.com"))


@pytest.fixture(scope="module")
def closed() -> Iterator[Stack]:
    """A stack that lets in only who proves who they are."""
    with fresh_stack(auth="jwt") as stack:
        yield stack


def token(stack: Stack, name: str) -> str:
    return LocalIssuer(stack.data_directory / "secrets").token(name, 600, now_us())


def said(stack: Stack, name: str) -> Any:
    return {"timeout": TIMEOUT_S, "metadata": [("authorization", f"Bearer {token(stack, name)}")]}


def answer(call: Any, request: Any, **how: Any) -> tuple[str, str]:
    try:
        call(request, **({"timeout": TIMEOUT_S} | how))
    except grpc.RpcError as error:
        return error.code().name, reason_of(error)
    return "OK", ""


def c360(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "C360_DATA_DIR": str(stack.data_directory)}
    return subprocess.run([C360, *arguments], env=environment, capture_output=True, text=True)


def define(stack: Stack, name: str, **caller: Any) -> None:
    content = registry_pb2.Caller(issuer="customer360", subject=name, **caller)
    definition = registry_pb2.Definition(name=name, defined_by="ops", reason="asked", caller=content)
    with grpc.insecure_channel(stack.endpoints.consent) as channel:
        registry: Any = registry_pb2_grpc.RegistryServiceStub(channel)
        registry.Define(registry_pb2.DefineRequest(request_id=str(uuid4()), definition=definition), **said(stack, "operator"))


def test_no_service_answers_who_proves_nothing(closed: Stack) -> None:
    calls: list[tuple[str, Any, str, Any]] = [
        (closed.endpoints.consent, consent_pb2_grpc.ConsentServiceStub, "Check", consent_pb2.CheckRequest(purpose="service")),
        (
            closed.endpoints.profile,
            profile_pb2_grpc.ProfileServiceStub,
            "GetProfile",
            profile_pb2.GetProfileRequest(purpose="service"),
        ),
        (closed.endpoints.identity, rules_pb2_grpc.RulesServiceStub, "GetRules", rules_pb2.GetRulesRequest()),
        (closed.endpoints.ingest, ingest_pb2_grpc.IngestServiceStub, "ListSources", ingest_pb2.ListSourcesRequest()),
    ]
    for address, stub, method, request in calls:
        with grpc.insecure_channel(address) as channel:
            assert answer(getattr(stub(channel), method), request) == ("UNAUTHENTICATED", "NO_CREDENTIAL")
            assert answer(getattr(stub(channel), method), request, **said(closed, "nobody")) == (
                "UNAUTHENTICATED",
                "CREDENTIAL_UNKNOWN",
            )


def test_status_is_told_to_who_proves_nothing_and_says_what_isnt(closed: Stack) -> None:
    environment = {"PATH": os.environ["PATH"], "C360_DATA_DIR": str(closed.data_directory), "C360_TOKEN": "bad"}
    shown = subprocess.run([C360, "status"], env=environment, capture_output=True, text=True)
    assert (shown.returncode, shown.stdout.count("SERVING")) == (0, 4)
    assert shown.stderr.count("didn't tell of") == shown.stderr.count("CREDENTIAL_") == len(shown.stderr.splitlines()) == 4


def test_the_operator_finds_its_token_and_others_dont(closed: Stack, tmp_path: Path) -> None:
    assert c360(closed, "consent", "callers", "list").returncode == 0
    assert c360(closed, "status").returncode == 0
    elsewhere = {"PATH": os.environ["PATH"], "C360_DATA_DIR": str(tmp_path), "C360_CONSENT_ADDRESS": closed.endpoints.consent}
    command = [C360, "consent", "callers", "list"]
    refused = subprocess.run(command, env=elsewhere, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "NO_CREDENTIAL" in refused.stderr
    given = elsewhere | {"C360_TOKEN": token(closed, "operator")}
    assert subprocess.run(command, env=given, capture_output=True, text=True).returncode == 0


def test_another_key_signs_and_what_the_old_one_signed_goes_on(closed: Stack) -> None:
    request, old = registry_pb2.ListDefinitionsRequest(kind=registry_pb2.DEFINITION_KIND_CALLER), said(closed, "operator")
    with grpc.insecure_channel(closed.endpoints.consent) as channel:
        registry: Any = registry_pb2_grpc.RegistryServiceStub(channel)
        assert answer(registry.ListDefinitions, request, **old) == ("OK", "")
        assert c360(closed, "consent", "callers", "rotate").returncode == 0
        later = now_us() + (AHEAD_S + 1) * SECOND
        new = LocalIssuer(closed.data_directory / "secrets").token("operator", 600, later)
        kids = [jwt.get_unverified_header(one)["kid"] for one in (old["metadata"][0][1].removeprefix("Bearer "), new)]
        assert len(set(kids)) == 2
        how = {"timeout": TIMEOUT_S, "metadata": [("authorization", f"Bearer {new}")]}
        eventually(lambda: answer(registry.ListDefinitions, request, **how) == ("OK", ""))
        assert answer(registry.ListDefinitions, request, **old) == ("OK", "")


def test_events_come_in_by_their_write_key(closed: Stack) -> None:
    environment = {"PATH": os.environ["PATH"], "C360_DATA_DIR": str(closed.data_directory), "C360_WRITE_KEY": closed.write_key()}
    command = [C360, "events", "identify", "--user-id", "ada", "-t", "email=ada@example.com"]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_a_caller_that_is_defined_does_what_it_may_and_nothing_when_it_is_taken_back(closed: Stack) -> None:
    define(closed, "desk", purposes=["service"], groups=[registry_pb2.METHOD_GROUP_READ])
    with grpc.insecure_channel(closed.endpoints.profile) as channel:
        profiles: Any = profile_pb2_grpc.ProfileServiceStub(channel)
        segments: Any = segment_pb2_grpc.SegmentServiceStub(channel)
        request = profile_pb2.GetProfileRequest(purpose="service", customer=SOMEBODY)
        how = said(closed, "desk")
        eventually(lambda: answer(profiles.GetProfile, request, **how)[0] in ("OK", "NOT_FOUND"))
        request.purpose = "marketing"
        assert answer(profiles.GetProfile, request, **how) == ("PERMISSION_DENIED", "PURPOSE_NOT_ALLOWED")
        members = segment_pb2.ListSegmentMembersRequest(purpose="service")
        assert answer(segments.ListSegmentMembers, members, **how) == ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED")
        define(closed, "desk", groups=[])
        request.purpose = "service"
        eventually(lambda: answer(profiles.GetProfile, request, **how) == ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED"))


def test_a_batch_counts_as_many_as_it_asks_for_and_all_customers_are_listed_for_exports_alone(closed: Stack) -> None:
    define(closed, "copier", purposes=["service"], groups=[registry_pb2.METHOD_GROUP_READ], customers_per_hour=2)
    how = said(closed, "copier")
    queries = [
        profile_pb2.ProfileQuery(customer=CustomerRef(identifier=Identifier(namespace="email", value=f"{number}@example.com")))
        for number in range(3)
    ]
    with grpc.insecure_channel(closed.endpoints.profile) as channel:
        profiles: Any = profile_pb2_grpc.ProfileServiceStub(channel)
        two = profile_pb2.BatchGetProfilesRequest(purpose="service", queries=queries[:2])
        eventually(lambda: answer(profiles.BatchGetProfiles, two, **how) == ("OK", ""))
        one = profile_pb2.GetProfileRequest(purpose="service", customer=queries[2].customer)
        assert answer(profiles.GetProfile, one, **how) == ("RESOURCE_EXHAUSTED", "SCRAPING_SUSPECTED")
    with grpc.insecure_channel(closed.endpoints.identity) as channel:
        identity: Any = identity_pb2_grpc.IdentityServiceStub(channel)
        decisions: Any = decision_pb2_grpc.DecisionServiceStub(channel)
        forbidden = ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED")
        assert answer(identity.ListProposals, identity_pb2.ListProposalsRequest(), **how) == forbidden
        assert answer(decisions.ListDecisions, decision_pb2.ListDecisionsRequest(), **how) == forbidden
        of_one = decision_pb2.ListDecisionsRequest(customer=SOMEBODY)
        assert answer(decisions.ListDecisions, of_one, **how)[1] != "METHOD_NOT_ALLOWED"
        assert answer(decisions.ListDecisions, decision_pb2.ListDecisionsRequest(), **said(closed, "operator")) == ("OK", "")


def test_the_glass_is_broken_closed_and_reviewed(closed: Stack) -> None:
    define(closed, "night_desk", purposes=["service"], groups=[registry_pb2.METHOD_GROUP_READ])
    request = profile_pb2.GetProfileRequest(purpose="audit", customer=SOMEBODY)
    with grpc.insecure_channel(closed.endpoints.profile) as channel:
        profiles: Any = profile_pb2_grpc.ProfileServiceStub(channel)
        how, forbidden = said(closed, "night_desk"), ("PERMISSION_DENIED", "PURPOSE_NOT_ALLOWED")
        eventually(lambda: answer(profiles.GetProfile, request, **how) == forbidden)
        override(closed)
        eventually(lambda: answer(profiles.GetProfile, request, **how)[0] in ("OK", "NOT_FOUND"))
        override(closed, closed=True)
        eventually(lambda: answer(profiles.GetProfile, request, **how) == forbidden)
    assert refusal(closed, closed=True, review="all is well", by="Ops") == ("INVALID_ARGUMENT", "OVERRIDE_INVALID")
    assert "incident_12 first" in c360(closed, "status").stderr
    [listed] = json.loads(c360(closed, "consent", "overrides", "list", "--json").stdout)
    assert (listed["opened_by"], listed["review"]) == ("ops", "")
    eventually(lambda: metric(closed, "c360_break_glass_reviews_due") == 1, 60)
    override(closed, closed=True, review="needed, and no more than that", by="privacy")
    shown = c360(closed, "consent", "overrides", "history", "incident_12", "--json")
    assert [one["review"] for one in json.loads(shown.stdout)] == ["needed, and no more than that", "", ""]
    assert "incident_12" not in c360(closed, "status").stderr
    eventually(lambda: metric(closed, "c360_break_glass_reviews_due") == 0, 60)


def metric(stack: Stack, name: str) -> float:
    found = httpx.get(f"http://127.0.0.1:{stack.ports['metrics_consent']}/metrics", timeout=TIMEOUT_S).text
    return next(float(line.split()[1]) for line in found.splitlines() if line.startswith(f"{name} "))


def refusal(stack: Stack, by: str, **changes: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        override(stack, by, **changes)
    return refused.value.code().name, reason_of(refused.value)


def override(stack: Stack, by: str = "ops", **changes: Any) -> None:
    content = registry_pb2.Override(
        caller="night_desk", purpose="audit", ticket="INC-12", approved_by="privacy", end_time=ENDS, **changes
    )
    definition = registry_pb2.Definition(name="incident_12", defined_by=by, reason="asked", override=content)
    with grpc.insecure_channel(stack.endpoints.consent) as channel:
        registry: Any = registry_pb2_grpc.RegistryServiceStub(channel)
        registry.Define(registry_pb2.DefineRequest(request_id=str(uuid4()), definition=definition), **said(stack, "operator"))
