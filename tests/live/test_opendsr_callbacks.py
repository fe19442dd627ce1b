"""Controllers are told what became of their requests though they fail for a while: in order, with pauses, by whatever process, and not for ever."""

import hashlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import pytest_asyncio
from c360.consent.v1 import rights_pb2 as pb
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.consent.http.calling_back import FIRST_PAUSE_S, LONGEST_PAUSE_S, MOST_TRIES, CallingBack
from services.consent.http.opendsr_file import OpenDsrFile
from services.consent.rights import Rights
from shared.instants import SECOND
from shared.store.pool import open_pool
from shared.telemetry import CALLBACKS_GIVEN_UP
from tests.live.consent_shop import DEADLINE_S, Shop, an_email, until
from tests.live.test_opendsr import DOMAIN, TOKEN, asked, certificate, certificate_of, verify
from tests.live.test_rights import SHA256, Desk


class Controller:
    """What it answers can be changed; it can be away, at the same address."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/told"
        self.answer = 200
        self.tried: list[str] = []
        self.bodies: list[tuple[bytes, dict[str, str]]] = []

    @contextmanager
    def there(self) -> Iterator[None]:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                ours.tried.append(json.loads(body)["request_status"])
                if ours.answer == 200:
                    ours.bodies.append((body, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(ours.answer)
                self.send_header("location", f"{ours.url}/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Telling:
    """What consent does every few seconds, with a clock that is set: consent's own has no file to go by meanwhile."""

    def __init__(self, shop: Shop, pool: Any, controller: Controller, folder: Path) -> None:
        self.controller = controller
        self.now = 1
        self._pool = pool
        self._folder = folder
        self._service_file = Path(shop.stack.environment_of("consent")["C360_OPENDSR_FILE"])
        self._shop = shop
        self._content: dict[str, Any] = {}

    def set_up(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (self._folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
        (self._folder / "certificate.pem").write_bytes(certificate_of(key))
        paths = {name: str(self._folder / f"{name}.pem") for name in ("key", "certificate")}
        known = {"controller_id": "shop", "token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
        self._content = {"domain": DOMAIN, **paths, "controllers": [known | {"callbacks": [self.controller.url]}]}
        self.agree()

    def agree(self, *, callbacks: bool = True) -> None:
        [one] = self._content["controllers"]
        controllers = [one | ({} if callbacks else {"callbacks": []})]
        (self._folder / "opendsr.json").write_text(json.dumps(self._content | {"controllers": controllers}))

    @contextmanager
    def open(self) -> Iterator[None]:
        """The service's own door, and what it tells."""
        self._service_file.write_text((self._folder / "opendsr.json").read_text())
        try:
            yield
        finally:
            self._service_file.unlink()

    async def has_tried(self, times: int) -> bool:
        return bool(await self._pool.fetchval("SELECT count(*) FROM rights_callbacks WHERE tries = $1", times))

    async def is_told(self) -> bool:
        return bool(await self._pool.fetchval("SELECT count(*) FROM rights_callbacks WHERE told = 'begun'"))

    async def request(self) -> "Told":
        """Handed over at the door, then checked. While the door is open nothing is due."""
        head, address = {"authorization": f"Bearer {TOKEN}"}, self._shop.stack.endpoints.consent_http
        body = asked((anna := an_email()).value, status_callback_urls=[self.controller.url])
        with self.open():
            async with httpx.AsyncClient(base_url=address, headers=head, timeout=DEADLINE_S) as http:
                assert (await http.post("/v2/requests", json=body)).status_code == 201
                self.certificate = await certificate(http)
        [held] = await Desk(self._shop).listed(identifier=anna)
        await Desk(self._shop).check_identity(held.rights_request_id)
        return Told(Desk(self._shop), held.rights_request_id)

    async def run(self, after_s: float = 0) -> None:
        """By a process that has just started: what it knows it reads."""
        self.now += int(after_s * SECOND)
        telling = CallingBack(Rights(self._pool), OpenDsrFile(self._folder / "opendsr.json"), lambda: self.now)
        while await telling.tell_some():
            pass


class Told:
    def __init__(self, desk: Desk, rights_id: str) -> None:
        self._desk = desk
        self._rights_id = rights_id

    async def begin(self) -> None:
        await self._desk.take(self._rights_id, begun=pb.Begun())

    async def fulfil(self) -> None:
        await self._desk.take(self._rights_id, fulfilled=pb.Fulfilled(references=["report"], proof_sha256=SHA256))


@pytest_asyncio.fixture
async def telling(shop: Shop, tmp_path: Path) -> AsyncIterator[Telling]:
    pool = await open_pool(shop.stack.environment_of("consent")["C360_DATABASE_URL"], "consent")
    telling = Telling(shop, pool, Controller(), tmp_path)
    telling.set_up()
    yield telling
    await pool.execute("DELETE FROM rights_callbacks")
    await pool.close()


async def test_a_controller_that_was_away_is_told_when_it_is_back_and_once(telling: Telling) -> None:
    request = await telling.request()
    await request.begin()
    await telling.run()
    with telling.controller.there():
        await telling.run()
        assert telling.controller.tried == [], "not before the pause is over"
        await telling.run(after_s=FIRST_PAUSE_S)
        await telling.run(after_s=LONGEST_PAUSE_S)
    assert telling.controller.tried == ["in_progress"]
    [(body, headers)] = telling.controller.bodies
    verify(telling.certificate, body, headers)


@pytest.mark.parametrize("answer", [503, 400, 302])
async def test_pauses_grow_and_what_happened_meanwhile_is_told_as_the_newest_and_nothing_older_after_it(
    telling: Telling, answer: int
) -> None:
    request = await telling.request()
    await request.begin()
    telling.controller.answer = answer
    with telling.controller.there():
        await telling.run()
        for tried in range(1, 4):
            assert telling.controller.tried == ["in_progress"] * tried
            await telling.run(after_s=FIRST_PAUSE_S * 2 ** (tried - 1) - 1)
            assert telling.controller.tried == ["in_progress"] * tried
            await telling.run(after_s=1)
        await request.fulfil()
        telling.controller.answer = 200
        await telling.run(after_s=FIRST_PAUSE_S * 8)
        await telling.run(after_s=LONGEST_PAUSE_S)
    assert telling.controller.tried == ["in_progress"] * 4 + ["completed"]
    assert [json.loads(body)["request_status"] for body, _ in telling.controller.bodies] == ["completed"]


async def test_each_change_is_told_in_its_order(telling: Telling) -> None:
    request = await telling.request()
    with telling.controller.there():
        await request.begin()
        await telling.run()
        await request.fulfil()
        await telling.run()
    assert telling.controller.tried == ["in_progress", "completed"]


@pytest.mark.parametrize("why", ["nobody is there", "it isn't agreed on any more"])
async def test_after_a_week_it_is_given_up_and_told_and_the_next_change_is_tried_anew(
    telling: Telling, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    request, given_up = await telling.request(), CALLBACKS_GIVEN_UP._value.get()
    await request.begin()
    telling.agree(callbacks=why == "nobody is there")
    for tries in range(MOST_TRIES):
        assert CALLBACKS_GIVEN_UP._value.get() == given_up, tries
        await telling.run(after_s=LONGEST_PAUSE_S)
    assert CALLBACKS_GIVEN_UP._value.get() == given_up + 1
    assert "a controller was not told" in "".join(capsys.readouterr())
    telling.agree()
    with telling.controller.there():
        await telling.run(after_s=LONGEST_PAUSE_S)
        assert telling.controller.tried == []
        await request.fulfil()
        await telling.run()
    assert telling.controller.tried == ["completed"]


def test_a_week_is_what_the_tries_take() -> None:
    pauses_s = [min(FIRST_PAUSE_S * 2**tries, LONGEST_PAUSE_S) for tries in range(MOST_TRIES - 1)]
    assert 7 <= sum(pauses_s) / 86_400 < 8


async def test_a_controller_that_is_away_doesnt_keep_another_from_being_told(telling: Telling) -> None:
    away = await telling.request()
    await away.begin()
    await telling.run()
    there = await telling.request()
    await there.begin()
    with telling.controller.there():
        await telling.run()
    assert telling.controller.tried == ["in_progress"]


async def test_the_service_itself_goes_on_telling_after_it_was_killed(telling: Telling, shop: Shop) -> None:
    request = await telling.request()
    await request.begin()
    with telling.open():
        await until(lambda: telling.has_tried(1))
        shop.stack.kill("consent")
        with telling.controller.there():
            await until(telling.is_told, 90)
    assert telling.controller.tried == ["in_progress"]
    shop.stack.wait_ready()
