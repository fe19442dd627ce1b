"""HTTP doors and the broker over TLS, by certificates of an authority of our own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from services.consent.http.door import PageProtocol
from services.stack.nats import _find_program
from services.stack.ports import HOST, choose_ports
from shared import bus
from shared.config import ConfigError, Settings
from shared.http.server import HttpServer
from shared.http.tls import tls_of
from tests.live.certificates import Authority

BASE: dict[str, Any] = {
    "database_url": "", "vault_url": "", "keyring_file": "", "grpc_address": "", "metrics_address": "",
}  # fmt: skip
TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("ours")


def settings_of(authority: Authority, **more: Any) -> Settings:
    key, certificate = authority.issue("localhost")
    return Settings(**BASE, tls_certificate=certificate, tls_key=key, **more)


async def scheme(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.url.scheme)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[int]:
    server = HttpServer("127.0.0.1:0", Starlette(routes=[Route("/", scheme)]), PageProtocol, tls_of(settings))
    running = asyncio.create_task(server.run())
    try:
        yield server.port
    finally:
        await server.stop()
        await running


def trusting(authority: Authority, shown: tuple[str, str] | None = None, folder: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem)
    if shown and folder:
        file = folder / "shown"
        file.write_text("\n".join(shown))
        context.load_cert_chain(file)
    return context


async def asked(url: str, context: ssl.SSLContext) -> str:
    async with httpx.AsyncClient(verify=context, timeout=TIMEOUT_S) as client:
        return (await client.get(url)).text


async def test_with_a_certificate_the_door_speaks_tls_alone(authority: Authority) -> None:
    async with serving(settings_of(authority)) as port:
        assert await asked(f"https://localhost:{port}/", trusting(authority)) == "https"
        with pytest.raises(httpx.ConnectError):
            await asked(f"https://localhost:{port}/", trusting(Authority("theirs")))
        with pytest.raises(httpx.TransportError):
            await asked(f"http://localhost:{port}/", trusting(authority))


async def test_without_one_it_speaks_as_before() -> None:
    async with serving(Settings(**BASE)) as port:
        assert await asked(f"http://localhost:{port}/", ssl.create_default_context()) == "http"


async def test_where_clients_have_to_show_a_certificate_others_get_no_answer(authority: Authority, tmp_path: Path) -> None:
    async with serving(settings_of(authority, http_client_ca=authority.pem)) as port:
        url = f"https://localhost:{port}/"
        assert await asked(url, trusting(authority, authority.issue("sdk"), tmp_path)) == "https"
        for shown in (None, Authority("theirs").issue("sdk")):
            with pytest.raises(httpx.TransportError):
                await asked(url, trusting(authority, shown, tmp_path))


def test_what_is_no_certificate_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="C360_TLS_CERTIFICATE"):
        tls_of(Settings(**BASE, tls_certificate="c", tls_key="k"))


async def test_the_broker_is_known_by_its_authority(authority: Authority, tmp_path: Path) -> None:
    key, certificate = authority.issue("localhost")
    (tmp_path / "key.pem").write_text(key)
    (tmp_path / "certificate.pem").write_text(certificate)
    ports = choose_ports(prefer_defaults=False)
    tls = f'tls {{ cert_file: "{tmp_path}/certificate.pem", key_file: "{tmp_path}/key.pem" }}'
    listen = f'listen: "{HOST}:{ports["nats"]}"\njetstream {{ store_dir: "{tmp_path}" }}'
    (tmp_path / "nats.conf").write_text(f"{listen}\n{tls}\n")
    broker = await asyncio.create_subprocess_exec(
        _find_program(), "--config", str(tmp_path / "nats.conf"), stderr=asyncio.subprocess.DEVNULL
    )
    url = f"tls://localhost:{ports['nats']}"
    try:
        client = await asyncio.wait_for(bus.connect(url, "test", authority=authority.pem), TIMEOUT_S)
        assert (await client.jetstream().account_info()).streams == 0
        await client.close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bus.connect(url, "test", authority=Authority("theirs").pem), 2)
    finally:
        broker.terminate()
        await broker.wait()
