"""Who is let in at a gRPC door: each refusal has its reason, tokens end and keys change, and a certificate says who calls."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import consent_pb2_grpc
from cryptography.hazmat.primitives.asymmetric import ec

from shared.callers import Callers
from shared.events.callers import OverrideDefined
from shared.instants import SECOND
from shared.rpc import keys
from shared.rpc.door import RECHECK_S, ByToken, Door
from shared.rpc.errors import reason_of
from shared.rpc.security import Security
from shared.rpc.tokens import HELD_US, LEEWAY_US, Tokens, TrustedIssuer
from shared.telemetry import SCRAPING_ALARMS
from tests.live.letting_in import NOBODY, TIMEOUT_S, Client, a_caller, connected, told

ISSUER, AUDIENCE, NOW_S = "https://id.example", "customer360", 1_900_000_000


class Issuer:
    """One whose keys change, with a clock that is set."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.now = NOW_S * SECOND
        self.seconds = 0.0
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.rotate("first")

    def rotate(self, kid: str) -> None:
        self._keys[kid] = ec.generate_private_key(ec.SECP256R1())
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._keys[kid].public_key()))
        self.file.write_text(json.dumps({"keys": [public | {"kid": kid, "alg": "ES256", "use": "sig"}]}))

    def token(self, kid: str = "first", algorithm: str = "ES256", key: Any = None, **claims: Any) -> str:
        said = {"iss": ISSUER, "sub": "mailer", "aud": AUDIENCE, "exp": NOW_S + 600} | claims
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, self._keys[kid] if key is None else key, algorithm, {"kid": kid})

    def tokens(self) -> Tokens:
        return Tokens([TrustedIssuer(ISSUER, str(self.file), AUDIENCE)], lambda: self.now, lambda: self.seconds)

    def door(self, callers: Callers) -> Door:
        return Door(ByToken(self.tokens(), callers), callers, lambda: self.now, lambda: self.seconds)


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "keys.json")


@pytest_asyncio.fixture
async def channel(issuer: Issuer) -> AsyncIterator[grpc.aio.Channel]:
    limited = a_caller("limited", purposes=("*",), calls_per_s=2, burst=3, misses_per_min=4)
    copier = a_caller("copier", customers_per_hour=3)
    callers = told(a_caller(), limited, copier, a_caller("decider", groups=("decide",)))
    async with connected(Security(callers, issuer.door(callers))) as channel:
        yield channel


async def test_who_proves_who_it_is_is_let_in_under_its_own_name(channel: grpc.aio.Channel, issuer: Issuer) -> None:
    caller = Client(channel, issuer.token(), [("x-c360-caller", "somebody-else")])
    assert await caller.check() == ("OK", "mailer")
    assert await caller.filter("marketing", "marketing") == ("OK", "2")
    issuer.now += HELD_US + 1
    assert await caller.check() == ("OK", "mailer")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": NOW_S - LEEWAY_US // SECOND}, "CREDENTIAL_EXPIRED"),
    "not yet": ({"nbf": NOW_S + 3600}, "CREDENTIAL_INVALID"),
    "of nobody": ({"sub": "nobody"}, "CREDENTIAL_UNKNOWN"),
    "without a subject": ({"sub": None}, "CREDENTIAL_INVALID"),
    "without an end": ({"exp": None}, "CREDENTIAL_INVALID"),
    "for somebody else": ({"aud": "another"}, "CREDENTIAL_INVALID"),
    "of another issuer": ({"iss": "https://evil.example"}, "CREDENTIAL_INVALID"),
    "signed by itself": ({"key": ec.generate_private_key(ec.SECP256R1())}, "CREDENTIAL_INVALID"),
    "not signed": ({"algorithm": "none", "key": ""}, "CREDENTIAL_INVALID"),
    "signed with a password": ({"algorithm": "HS256", "key": "x" * 64}, "CREDENTIAL_INVALID"),
}


@pytest.mark.parametrize("wrong", BAD)
async def test_a_credential_that_proves_nothing_is_refused(channel: grpc.aio.Channel, issuer: Issuer, wrong: str) -> None:
    claims, reason = BAD[wrong]
    assert await Client(channel, issuer.token(**claims)).check() == ("UNAUTHENTICATED", reason)


async def test_who_shows_nothing_is_told_what_is_missing(channel: grpc.aio.Channel) -> None:
    for caller in (Client(channel), Client(channel, said=[("authorization", "Basic YTpi")])):
        assert await caller.check() == ("UNAUTHENTICATED", "NO_CREDENTIAL")
        assert await caller.check("prepared") == ("UNAUTHENTICATED", "NO_CREDENTIAL")
        assert await caller.filter("marketing") == ("UNAUTHENTICATED", "NO_CREDENTIAL")
    assert await Client(channel, "no.token.").check() == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")


async def test_a_caller_declares_the_purposes_that_are_its_own_also_for_what_is_ready(
    channel: grpc.aio.Channel, issuer: Issuer
) -> None:
    caller = Client(channel, issuer.token())
    assert await caller.check("advertising") == ("PERMISSION_DENIED", "PURPOSE_NOT_ALLOWED")
    assert await caller.check("prepared") == ("PERMISSION_DENIED", "PURPOSE_NOT_ALLOWED")
    anybody = Client(channel, issuer.token(sub="limited"))
    assert await anybody.check("prepared") == ("OK", "limited"), "it is looked at closely, and answered anew"
    assert await anybody.check("prepared") == ("OK", "ready for limited")
    assert await anybody.check("prepared and dropped") == ("OK", "limited")
    assert await caller.filter("marketing", "advertising") == ("PERMISSION_DENIED", "PURPOSE_NOT_ALLOWED")


async def test_a_caller_calls_what_its_groups_have(channel: grpc.aio.Channel, issuer: Issuer) -> None:
    request = pb.RecordDecisionRequest(purpose="advertising")
    assert await Client(channel, issuer.token()).call("RecordDecision", request) == ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED")
    decider = Client(channel, issuer.token(sub="decider"))
    assert await decider.call("RecordDecision", request) == ("OK", "")
    assert await decider.check() == ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED")


async def test_who_asks_too_often_for_a_purpose_waits_and_others_dont(channel: grpc.aio.Channel, issuer: Issuer) -> None:
    caller = Client(channel, issuer.token(sub="limited"))
    answers = [await caller.check() for _ in range(4)]
    assert answers == [("OK", "limited")] * 3 + [("RESOURCE_EXHAUSTED", "RATE_EXCEEDED")]
    assert await caller.check("service") == ("OK", "limited")
    assert await Client(channel, issuer.token()).check() == ("OK", "mailer")
    issuer.seconds += 0.6
    assert [await caller.check() for _ in range(2)] == [("OK", "limited"), ("RESOURCE_EXHAUSTED", "RATE_EXCEEDED")]
    issuer.seconds += 100
    batch = pb.CheckBatchRequest(purpose="marketing", customers=[CustomerRef()] * 10)
    assert await caller.call("CheckBatch", batch) == ("OK", "")
    issuer.seconds += 3
    assert await caller.check() == ("RESOURCE_EXHAUSTED", "RATE_EXCEEDED")


@pytest.mark.parametrize("purpose", ["prepared", "prepared and dropped"])
async def test_what_is_ready_counts_once_too(channel: grpc.aio.Channel, issuer: Issuer, purpose: str) -> None:
    caller = Client(channel, issuer.token(sub="limited"))
    answers = [(await caller.check(purpose))[0] for _ in range(4)]
    assert answers == ["OK", "OK", "OK", "RESOURCE_EXHAUSTED"]


async def test_who_tries_out_identifiers_is_stopped(channel: grpc.aio.Channel, issuer: Issuer) -> None:
    caller = Client(channel, issuer.token(sub="limited"))
    for _ in range(4):
        issuer.seconds += 1e-3 + 1
        assert await caller.check("service", NOBODY) == ("NOT_FOUND", "CUSTOMER_UNKNOWN")
    assert await caller.check("service") == ("RESOURCE_EXHAUSTED", "ENUMERATION_SUSPECTED")
    issuer.seconds += 60
    assert await caller.check("service") == ("OK", "limited")


def somebody(number: int) -> CustomerRef:
    return CustomerRef(customer_id=str(number))


async def test_who_copies_what_there_is_is_stopped_and_goes_on_with_those_it_has(channel: grpc.aio.Channel, issuer: Issuer) -> None:
    caller, alarms = Client(channel, issuer.token(sub="copier")), SCRAPING_ALARMS.labels("copier")
    before, refused = alarms._value.get(), ("RESOURCE_EXHAUSTED", "SCRAPING_SUSPECTED")
    assert [await caller.check(customer=somebody(number % 3)) for number in range(9)] == [("OK", "copier")] * 9
    assert [await caller.check(customer=somebody(number)) for number in (3, 4)] == [refused] * 2
    assert await caller.check(customer=somebody(0)) == ("OK", "copier"), "who was asked for before is no copy more"
    assert alarms._value.get() == before + 1, "once in an hour"
    issuer.seconds += 3600
    assert await caller.check(customer=somebody(3)) == ("OK", "copier")
    assert await Client(channel, issuer.token()).check(customer=somebody(4)) == ("OK", "mailer")


async def test_a_batch_or_a_stream_is_no_way_around_the_limit(channel: grpc.aio.Channel, issuer: Issuer) -> None:
    caller, refused = Client(channel, issuer.token(sub="copier")), ("RESOURCE_EXHAUSTED", "SCRAPING_SUSPECTED")
    four = [somebody(number) for number in range(4)]
    assert await caller.call("CheckBatch", pb.CheckBatchRequest(purpose="marketing", customers=four)) == refused
    assert await caller.call("CheckBatch", pb.CheckBatchRequest(purpose="marketing", customers=four[:2])) == ("OK", "")
    stub: Any = consent_pb2_grpc.ConsentServiceStub(channel)
    requests = [pb.FilterAudienceRequest(purpose="marketing", customers=[one]) for one in four]
    how = {"timeout": TIMEOUT_S, "metadata": [("authorization", f"Bearer {issuer.token(sub='copier')}")]}
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        async for _ in stub.FilterAudience(iter(requests), **how):
            pass
    assert reason_of(ended.value) == "SCRAPING_SUSPECTED"


async def test_keys_change_while_calls_go_on(channel: grpc.aio.Channel, issuer: Issuer) -> None:
    old = issuer.token()
    assert await Client(channel, old).check() == ("OK", "mailer")
    issuer.rotate("second")
    issuer.seconds += keys.REREAD_S
    assert await Client(channel, issuer.token("second")).check() == ("OK", "mailer")
    issuer.now += HELD_US + 1
    assert await Client(channel, old).check() == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")


async def test_a_key_set_that_is_gone_counts_for_a_while(channel: grpc.aio.Channel, issuer: Issuer) -> None:
    caller = Client(channel, issuer.token())
    assert await caller.check() == ("OK", "mailer")
    issuer.file.write_text("nothing of the kind")
    issuer.seconds, issuer.now = issuer.seconds + keys.FRESH_S + 1, issuer.now + HELD_US + 1
    assert await caller.check() == ("OK", "mailer")
    issuer.seconds, issuer.now = issuer.seconds + keys.STALE_S, issuer.now + HELD_US + 1
    assert await caller.check() == ("UNAVAILABLE", "KEYS_UNREADABLE")


async def test_a_caller_that_is_defined_without_credentials_is_let_in_no_more(issuer: Issuer) -> None:
    callers = told(a_caller())
    async with connected(Security(callers, issuer.door(callers))) as channel:
        caller = Client(channel, issuer.token())
        assert await caller.check() == ("OK", "mailer")
        callers.learn([a_caller(issuer="", subject="")])
        assert await caller.check() == ("UNAUTHENTICATED", "CREDENTIAL_UNKNOWN")


async def test_before_it_knows_who_may_call_a_service_lets_nobody_in(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.callers.WAIT_S", 0.01)
    nobody = Callers()
    async with connected(Security(nobody, issuer.door(nobody))) as channel:
        assert await Client(channel, issuer.token()).check() == ("UNAVAILABLE", "CALLERS_UNKNOWN")


@pytest.mark.parametrize("ending", ["its token ends", "its caller is taken back", "its caller may declare less"])
async def test_a_stream_ends_with_what_it_was_let_in_by(issuer: Issuer, ending: str) -> None:
    callers, sent = told(a_caller()), asyncio.Event()

    async def requests() -> AsyncIterator[pb.FilterAudienceRequest]:
        yield pb.FilterAudienceRequest(purpose="marketing")
        await sent.wait()
        yield pb.FilterAudienceRequest(purpose="marketing")

    async with connected(Security(callers, issuer.door(callers))) as channel:
        stub: Any = consent_pb2_grpc.ConsentServiceStub(channel)
        answers = stub.FilterAudience(requests(), metadata=[("authorization", f"Bearer {issuer.token()}")], timeout=TIMEOUT_S)
        assert await answers.read() == pb.FilterAudienceResponse()
        issuer.seconds += RECHECK_S
        if ending == "its token ends":
            issuer.now += 3600 * SECOND
        else:
            callers.learn([a_caller(purposes=("service",))] if ending == "its caller may declare less" else [])
        sent.set()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await answers.read()
    reasons = {"its token ends": "CREDENTIAL_EXPIRED", "its caller is taken back": "CREDENTIAL_UNKNOWN"}
    assert reason_of(ended.value) == reasons.get(ending, "PURPOSE_NOT_ALLOWED")


async def test_a_broken_glass_lets_in_for_a_purpose_until_it_ends_and_is_seen_in_the_callers_name(issuer: Issuer) -> None:
    callers, request = Callers(), pb.CheckRequest(purpose="audit")
    override = OverrideDefined(
        request_id="r",
        name="incident",
        version=1,
        caller="mailer",
        purpose="audit",
        ticket="t",
        approved_by="a",
        ends_at=issuer.now + 60,
    )
    callers.learn([a_caller(), a_caller("shop")], [override])
    async with connected(Security(callers, issuer.door(callers))) as channel:
        mailer, shop = (Client(channel, issuer.token(sub=name)) for name in ("mailer", "shop"))
        assert await mailer.call("Check", request) == ("OK", "mailer+incident")
        assert await mailer.check() == ("OK", "mailer")
        assert await mailer.check("advertising") == ("PERMISSION_DENIED", "PURPOSE_NOT_ALLOWED")
        assert await shop.call("Check", request) == ("PERMISSION_DENIED", "PURPOSE_NOT_ALLOWED")
        issuer.now += 60
        assert await mailer.call("Check", request) == ("PERMISSION_DENIED", "PURPOSE_NOT_ALLOWED")
