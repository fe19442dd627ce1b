"""Another certificate while the doors are open."""

import asyncio
import os
import ssl
from pathlib import Path

import grpc
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from services.consent.http.door import PageProtocol
from shared.config import Settings, read_settings
from shared.http.server import HttpServer
from shared.http.tls import tls_of
from shared.instants import now_us
from shared.process import read_again
from shared.rpc.security import secure
from tests.live.certificates import Authority
from tests.live.letting_in import Client, a_caller, listening

WRITTEN = ("certificate", "key", "client_ca")


class Installation:
    """The files that a service's settings name, and what it was started with."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, issued_by: Authority, callers_by: Authority) -> None:
        self._folder = folder
        for name in ("DATABASE_URL", "VAULT_URL", "KEYRING_FILE", "GRPC_ADDRESS", "METRICS_ADDRESS"):
            monkeypatch.setenv(f"C360_{name}", "")
        for name in WRITTEN:
            monkeypatch.setenv(f"C360_TLS_{name.upper()}_FILE", str(folder / name))
        monkeypatch.setenv("C360_AUTH", "mtls")
        self.write(issued_by, callers_by)
        self.settings = read_settings(Settings, os.environ)

    def write(self, issued_by: Authority, callers_by: Authority) -> None:
        key, certificate = issued_by.issue("localhost")
        for name, text in zip(WRITTEN, (certificate, key, callers_by.pem), strict=True):
            (self._folder / name).write_text(text)

    def write_key(self, key: str) -> None:
        (self._folder / "key").write_text(key)

    def hang_up(self) -> None:
        read_again(self.settings)


OLD, NEW = Authority("old"), Authority("new")
CALLER = a_caller("mailer", purposes=("*",), issuer="", subject="", certificate_names=("mailer.internal",))


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    return Installation(tmp_path, monkeypatch, OLD, OLD)


def showing(shown_by: Authority, trusting: Authority) -> grpc.ChannelCredentials:
    key, certificate = shown_by.issue("mailer.internal")
    return grpc.ssl_channel_credentials(trusting.pem.encode(), key.encode(), certificate.encode())


async def test_grpc_shows_a_new_certificate_and_asks_for_those_of_another_authority(installation: Installation) -> None:
    security = secure(installation.settings, now_us)
    security.callers.learn([CALLER])
    async with listening(security) as address, grpc.aio.secure_channel(address, showing(OLD, OLD)) as before:
        assert await Client(before).check() == ("OK", "mailer")
        installation.write(NEW, NEW)
        installation.hang_up()
        assert await answer(address, showing(NEW, NEW)) == ("OK", "mailer")
        assert await answer(address, showing(OLD, NEW)) == ("UNAVAILABLE", "")
        assert await answer(address, showing(NEW, OLD)) == ("UNAVAILABLE", "")
        assert await Client(before).check() == ("OK", "mailer"), "a connection that there is goes on"


async def answer(address: str, credentials: grpc.ChannelCredentials) -> tuple[str, str]:
    """Over a connection of its own."""
    async with grpc.aio.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        return await Client(channel).check()


async def here(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


async def test_http_shows_a_new_certificate(installation: Installation) -> None:
    app = Starlette(routes=[Route("/", here)])
    server = HttpServer("127.0.0.1:0", app, PageProtocol, tls_of(installation.settings))
    running = asyncio.create_task(server.run())
    try:
        await shaken_hands(server.port, OLD)
        installation.write(NEW, OLD)
        installation.hang_up()
        await shaken_hands(server.port, NEW)
        with pytest.raises(ssl.SSLCertVerificationError):
            await shaken_hands(server.port, OLD)
    finally:
        await server.stop()
        await running


async def shaken_hands(port: int, trusting: Authority) -> None:
    context = ssl.create_default_context(cadata=trusting.pem)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    writer.close()


async def test_a_key_that_is_not_the_certificates_changes_nothing(installation: Installation) -> None:
    security = secure(installation.settings, now_us)
    security.callers.learn([CALLER])
    async with listening(security) as address:
        installation.write_key(NEW.issue("localhost")[0])
        installation.hang_up()
        assert await answer(address, showing(OLD, OLD)) == ("OK", "mailer")
