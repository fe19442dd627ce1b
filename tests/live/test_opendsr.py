"""Requests that other systems hand over as OpenDSR 2.0 has it: taken, told of and cancelled, each answer signed."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from c360.consent.v1 import rights_pb2 as pb
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from services.consent.http.opendsr_file import Controller
from tests.live.consent_shop import DEADLINE_S, Shop, an_email, until
from tests.live.test_rights import SHA256, Desk

DOMAIN, TOKEN = "privacy.example.com", "a-token-of-the-shop"
SUBMITTED = "2026-03-05T12:00:00Z"
Told = tuple[dict[str, Any], bytes, dict[str, str]]


class Listening:
    """A controller; the first time that it is told of an ending it is out of order."""

    def __init__(self) -> None:
        self.heard: list[Told] = []
        self.failed: set[str] = set()
        heard, failed = self.heard, self.failed

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                told = json.loads(body)
                fails = told["request_status"] == "completed" and told["subject_request_id"] not in failed
                if fails:
                    failed.add(told["subject_request_id"])
                else:
                    heard.append((told, body, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(503 if fails else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/told"

    def of(self, subject_request_id: str) -> list[Told]:
        return [one for one in self.heard if one[0]["subject_request_id"] == subject_request_id]


@pytest.fixture(scope="module")
def listening() -> Iterator[Listening]:
    listening = Listening()
    thread = Thread(target=listening.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield listening
    listening.server.shutdown()
    thread.join()
    listening.server.server_close()


def certificate_of(key: Any) -> bytes:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)]), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest_asyncio.fixture(params=["rsa", "ec"])
async def dsr(shop: Shop, listening: Listening, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    key = rsa.generate_private_key(65537, 2048) if request.param == "rsa" else ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    (tmp_path / "certificate.pem").write_bytes(certificate_of(key))
    controllers = [
        {"controller_id": name, "token_sha256": hashlib.sha256(token.encode()).hexdigest(), "callbacks": [listening.url]}
        for name, token in (("shop", TOKEN), ("other", "another"))
    ]
    content = {"domain": DOMAIN, "key": str(tmp_path / "key.pem"), "certificate": str(tmp_path / "certificate.pem")}
    file = Path(shop.stack.environment_of("consent")["C360_OPENDSR_FILE"])
    file.write_text(json.dumps(content | {"calendar": "DE", "controllers": controllers}))
    head = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=shop.stack.endpoints.consent_http, headers=head, timeout=DEADLINE_S) as http:
        yield http
    file.unlink()


async def certificate(http: httpx.AsyncClient) -> x509.Certificate:
    return x509.load_pem_x509_certificate((await http.get("/v2/certificate.pem")).content)


def verify(signed_by: x509.Certificate, body: bytes, headers: Any) -> None:
    assert headers["x-opendsr-processor-domain"] == DOMAIN
    signature, key = base64.b64decode(headers["x-opendsr-signature"]), signed_by.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, body, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, body, ec.ECDSA(hashes.SHA256()))


def asked(email: str, **more: Any) -> dict[str, Any]:
    identity = {"identity_type": "email", "identity_value": email, "identity_format": "raw"}
    kind = {"regulation": "gdpr", "subject_request_type": "access", "api_version": "2.0"}
    return kind | {"subject_request_id": str(uuid4()), "submitted_time": SUBMITTED, "subject_identities": [identity]} | more


async def test_a_request_is_taken_told_of_and_done_like_any_other(dsr: httpx.AsyncClient, shop: Shop, listening: Listening) -> None:
    anna, desk, signed_by = an_email(), Desk(shop), await certificate(dsr)
    request = asked(anna.value, status_callback_urls=[listening.url])
    posted = [await dsr.post("/v2/requests", json=request) for _ in range(2)]
    assert [one.status_code for one in posted] == [201, 201]
    assert posted[0].json() == posted[1].json()
    verify(signed_by, posted[0].content, posted[0].headers)
    told = posted[0].json()
    assert json.loads(base64.b64decode(told["encoded_request"])) == request
    assert (told["controller_id"], told["expected_completion_time"]) == ("shop", "2026-04-07T23:59:59Z")

    one = f"/v2/requests/{request['subject_request_id']}"
    status = await dsr.get(one)
    verify(signed_by, status.content, status.headers)
    assert status.json()["request_status"] == "pending"
    assert (await dsr.get(one, headers={"authorization": "Bearer another"})).status_code == 404, "each has requests of its own"

    [held] = await desk.listed(identifier=anna)
    await desk.check_identity(held.rights_request_id)
    await desk.take(held.rights_request_id, begun=pb.Begun())
    refused = await dsr.delete(one)
    assert (refused.status_code, refused.json()["error"]["errors"][0]["reason"]) == (400, "RIGHTS_REQUEST_BEGUN")
    await until(lambda: heard(listening, request, 1))
    await desk.take(held.rights_request_id, fulfilled=pb.Fulfilled(references=["report"], proof_sha256=SHA256))
    await until(lambda: failed_once(listening, request))
    assert (await dsr.get(one)).json()["request_status"] == "completed"
    for content, body, headers in listening.of(request["subject_request_id"]):
        verify(signed_by, body, headers)
        assert (content["status_callback_url"], content["request_status"]) == (listening.url, "in_progress")


async def heard(listening: Listening, request: dict[str, Any], number: int) -> bool:
    return len(listening.of(request["subject_request_id"])) == number


async def failed_once(listening: Listening, request: dict[str, Any]) -> bool:
    return request["subject_request_id"] in listening.failed


async def test_what_waits_can_be_cancelled_once(dsr: httpx.AsyncClient, listening: Listening) -> None:
    request = asked(an_email().value, regulation="ccpa", status_callback_urls=[listening.url])
    assert (await dsr.post("/v2/requests", json=request)).status_code == 201
    one = f"/v2/requests/{request['subject_request_id']}"
    answers = [await dsr.delete(one) for _ in range(2)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(202, answers[0].json())] * 2
    verify(await certificate(dsr), answers[0].content, answers[0].headers)
    assert (await dsr.get(one)).json()["request_status"] == "cancelled"
    await until(lambda: heard(listening, request, 1))
    assert listening.of(request["subject_request_id"])[0][0]["request_status"] == "cancelled"


async def test_an_address_may_be_named_by_its_hash(dsr: httpx.AsyncClient, shop: Shop) -> None:
    anna = an_email()
    hashed = hashlib.sha256(anna.value.encode()).hexdigest()
    identity = {"identity_type": "email", "identity_value": hashed, "identity_format": "sha256"}
    assert (await dsr.post("/v2/requests", json=asked("", subject_identities=[identity]))).status_code == 201
    assert len(await Desk(shop).listed(identifier=anna)) == 1


async def test_discovery_tells_what_is_taken(dsr: httpx.AsyncClient) -> None:
    found = await dsr.get("/v2/discovery")
    verify(await certificate(dsr), found.content, found.headers)
    assert found.json()["supported_subject_request_types"] == ["access", "portability", "erasure"]
    assert found.json()["processor_certificate"] == f"https://{DOMAIN}/v2/certificate.pem"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"subject_identities": []}, "OPENDSR_INVALID"),
        ({"subject_request_id": "1"}, "OPENDSR_INVALID"),
        ({"regulation": "lgpd"}, "OPENDSR_INVALID"),
        ({"submitted_time": "yesterday"}, "OPENDSR_INVALID"),
        ({"submitted_time": "2999-01-01T00:00:00Z"}, "DAY_INVALID"),
        ({"status_callback_urls": ["http://169.254.169.254/told"]}, "OPENDSR_INVALID"),
        (
            {"subject_identities": [{"identity_type": "email", "identity_value": "x", "identity_format": "raw"}]},
            "IDENTIFIER_INVALID",
        ),
    ],
)
async def test_what_cannot_be_taken_is_refused(dsr: httpx.AsyncClient, more: dict[str, Any], reason: str) -> None:
    answer = await dsr.post("/v2/requests", json=asked(an_email().value) | more)
    assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (400, reason)


async def test_only_who_is_known_may_ask(dsr: httpx.AsyncClient) -> None:
    for head in ({"authorization": ""}, {"authorization": "Bearer guess"}):
        assert (await dsr.post("/v2/requests", json=asked("x"), headers=head)).status_code == 401
    assert (await dsr.get("/v2/requests")).status_code == 405
    assert (await dsr.get("/v2/other")).status_code == 404
    assert (await dsr.post("/v2/requests", content=b"x" * 70_000)).status_code == 400


async def test_without_a_file_there_is_no_such_door(shop: Shop) -> None:
    async with httpx.AsyncClient(base_url=shop.stack.endpoints.consent_http, timeout=DEADLINE_S) as http:
        found = await asyncio.gather(*(http.get(path) for path in ("/v2/discovery", "/v2/requests/x")))
    assert {one.status_code for one in found} == {404}


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://shop.example/told", True),
        ("https://shop.example/told/1?x=y", True),
        ("https://shop.example/toldyou", False),
        ("https://shop.example/told/../admin", False),
        ("https://shop.example/told/%2E%2e/admin", False),
        ("http://shop.example/told", False),
        ("https://shop.example@evil.example/told", False),
        ("https://shop.example:8443/told", False),
        ("https://[/told", False),
        ("https://shop.example/told\r\nx: y", False),
    ],
)
def test_nobody_is_told_but_at_what_was_agreed_on(url: str, may: bool) -> None:
    agreed = Controller(controller_id="shop", token_sha256="a" * 64, callbacks=("https://shop.example/told",))
    assert agreed.may_be_told_at(url) is may
