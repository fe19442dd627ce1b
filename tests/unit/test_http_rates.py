"""Every HTTP door has its bounds: who comes too often is told by 429 when to come again, and nobody else is kept waiting by it."""

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.consent.answering import RightsDesk
from services.consent.domain.unsubscribing import Link, LinkKey
from services.consent.http import door, opendsr, replies
from services.consent.http.door import ConsentDoor
from services.consent.http.opendsr import OpenDsr
from services.consent.http.opendsr_file import OpenDsrFile
from services.consent.http.replies import Replies
from services.consent.http.signatures import SIGNATURE, TIMESTAMP, SecretFile, signature_of
from services.consent.unsubscribing import Unsubscribing
from services.profile.app import Profiles
from services.profile.belonging import Belongings
from services.profile.http.door import ProfileDoor
from services.profile.origins import Origins
from services.profile.timelines import Timelines
from shared.access_tokens import TokenFile, TokenLimits
from shared.errors import DeadlineExceeded
from shared.instants import DAY, SECOND
from shared.limits import Limits
from shared.positions import Progress
from tests.unrecorded import unrecorded

NOW, KEY, SECRET = 1_900_000_000 * SECOND, b"k" * 32, "a-secret-of-the-gateway-and-of-ours"
USERS = "/v1/spaces/main/collections/users/profiles"


class Steady:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Recording:
    """A ledger that has recorded whatever comes, and whose readers are away."""

    async def unsubscribe(self, *_: Any) -> None:
        raise DeadlineExceeded("recorded", reason="NOT_YET_ENFORCED")

    async def receive(self, *_: Any) -> None:
        raise DeadlineExceeded("recorded", reason="NOT_YET_ENFORCED")


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door")


@pytest.fixture
def steady() -> Steady:
    return Steady()


@pytest.fixture
async def consent(tmp_path: Path, steady: Steady) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "secrets").write_text(SECRET)
    recording: Any = Recording()
    links = Unsubscribing(recording, recording, LinkKey(KEY), "http://door", lambda: NOW)
    taken = Replies(recording, SecretFile(tmp_path / "secrets"), KEY, lambda: NOW, steady)
    dsr = OpenDsr(RightsDesk.__new__(RightsDesk), OpenDsrFile(_set_up(tmp_path)), KEY, steady)
    async with client(ConsentDoor(links, taken, dsr, steady)) as found:
        yield found


def _set_up(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name, today = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "privacy.example.com")]), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(today - timedelta(days=1)).not_valid_after(today + timedelta(days=1))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    (folder / "certificate.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    controllers = [{"controller_id": name, "token_sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("shop", "other")]
    content = {"domain": "privacy.example.com", "key": str(folder / "key.pem"), "certificate": str(folder / "certificate.pem")}
    (folder / "opendsr.json").write_text(json.dumps(content | {"controllers": controllers}))
    return folder / "opendsr.json"


def link(purpose: str = "marketing") -> str:
    return "/u/" + LinkKey(KEY).token_of(Link(b"h" * 32, "email", purpose, NOW + DAY))


async def click(consent: httpx.AsyncClient, path: str) -> httpx.Response:
    return await consent.post(path, data={"List-Unsubscribe": "One-Click"})


async def test_a_link_is_clicked_some_times_and_then_now_and_then(consent: httpx.AsyncClient, steady: Steady) -> None:
    told = [(await click(consent, link())).status_code for _ in range(door.CLICKS_BURST)]
    assert told == [200] * door.CLICKS_BURST
    refused = await click(consent, link())
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert (await click(consent, link("advertising"))).status_code == 200
    assert (await consent.get(link())).status_code == 200
    steady.seconds += 10
    assert (await click(consent, link())).status_code == 200


async def reply(consent: httpx.AsyncClient, number: str) -> httpx.Response:
    body, now = json.dumps({"From": number, "Body": "STOP"}).encode(), str(NOW // SECOND)
    head = {"content-type": "application/json", TIMESTAMP: now, SIGNATURE: signature_of(SECRET, now, body)}
    return await consent.post("/replies/sms", content=body, headers=head)


async def test_one_number_replies_some_times_and_then_now_and_then(consent: httpx.AsyncClient, steady: Steady) -> None:
    told = [(await reply(consent, "+493012345678")).status_code for _ in range(replies.OF_ONE_BURST)]
    assert told == [202] * replies.OF_ONE_BURST
    refused = await reply(consent, "+493012345678")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert refused.json()["code"] == "RATE_EXCEEDED"
    assert (await reply(consent, "+493012345679")).status_code == 202
    steady.seconds += 10
    assert (await reply(consent, "+493012345678")).status_code == 202


async def test_gateways_together_hand_over_so_many_replies(consent: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "BURST", 2)
    recording: Any = Recording()
    ours = consent._transport.app  # type: ignore[attr-defined]
    ours._replies = Replies(recording, ours._replies._secrets, KEY, lambda: NOW, Steady())
    told = [await reply(consent, f"+49301234567{number}") for number in range(3)]
    assert [one.status_code for one in told] == [202, 202, 429]
    assert told[2].headers["retry-after"] == "1"


async def hand_over(consent: httpx.AsyncClient, token: str) -> httpx.Response:
    return await consent.post("/v2/requests", content=b"{}", headers={"authorization": f"Bearer {token}"})


async def test_a_controller_hands_over_so_many_requests_and_others_arent_kept_waiting(
    consent: httpx.AsyncClient, steady: Steady
) -> None:
    told = {(await hand_over(consent, "shop")).status_code for _ in range(opendsr.BURST)}
    assert told == {400}
    refused = await hand_over(consent, "shop")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["errors"][0]["reason"] == "RATE_EXCEEDED"
    assert (await hand_over(consent, "other")).status_code == 400
    assert (await hand_over(consent, "nobody")).status_code == 401
    steady.seconds += 1
    assert (await hand_over(consent, "shop")).status_code == 400


async def test_who_needs_no_token_has_so_many_answers_signed(consent: httpx.AsyncClient) -> None:
    told = [await consent.get("/v2/discovery") for _ in range(opendsr.BURST)]
    assert {one.status_code for one in told} == {200}
    for path in ("/v2/discovery", "/v2/certificate.pem"):
        assert (await consent.get(path)).status_code == 429
    assert (await hand_over(consent, "shop")).status_code == 400, "whoever has a token isn't kept waiting by whoever has none"


def reader(folder: Path, limits: TokenLimits) -> tuple[ProfileDoor, str]:
    """A door to nothing: what it lets in fails behind it."""
    tokens = TokenFile(folder / "tokens.json")
    token = tokens.add("one", "main", "service", bytes, limits)
    parts = Profiles.__new__(Profiles), Belongings.__new__(Belongings), Timelines.__new__(Timelines), Origins.__new__(Origins)
    door_ = ProfileDoor(*parts, Progress(), tokens, b"key", unrecorded())
    door_._limits = Limits(lambda: 0.0)
    return door_, token


async def read(profile: httpx.AsyncClient, user: str) -> tuple[int, str, int]:
    answer = await profile.get(f"{USERS}/user_id:{user}/traits")
    return answer.status_code, answer.json()["error"]["reason"], int(answer.headers.get("retry-after", 0))


async def test_a_token_reads_so_often(tmp_path: Path) -> None:
    app, token = reader(tmp_path, TokenLimits(reads_per_s=2))
    async with client(app) as profile:
        profile.auth = httpx.BasicAuth(token, "")
        told = [await read(profile, "x") for _ in range(4)]
    assert told[2:] == [(429, "RATE_EXCEEDED", 1)] * 2
    assert [one[0] for one in told[:2]] == [500, 500]


async def test_a_token_reads_so_many_users_and_those_again(tmp_path: Path) -> None:
    app, token = reader(tmp_path, TokenLimits(customers_per_hour=2))
    async with client(app) as profile:
        profile.auth = httpx.BasicAuth(token, "")
        told = [await read(profile, user) for user in ("a", "b", "a", "c", "b")]
    assert [one[0] for one in told] == [500, 500, 500, 429, 500]
    assert told[3][1] == "SCRAPING_SUSPECTED"
    assert told[3][2] == 3_600
