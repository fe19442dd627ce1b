"""The Python client over TLS: it shows its certificate where a service asks for one, and speaks to nobody whom its root hasn't issued."""

from collections.abc import AsyncIterator
from typing import Any

import customer360_client as c360
import grpc
import grpc.aio
import pytest

from tests.live.certificates import Authority
from tests.live.channel_backend import DEADLINE_S, Backend

ADA = c360.by_identifier("email", "ada@example.com")


class Doorman(grpc.GenericRpcHandler):
    """Answers every call with nothing, and notes with which token it came."""

    def __init__(self) -> None:
        self.came: list[str] = []

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._note)

    async def _note(self, _request: bytes, context: Any) -> bytes:
        self.came.append(dict(context.invocation_metadata())["authorization"])
        return b""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("ours")


@pytest.fixture
async def door(authority: Authority) -> AsyncIterator[tuple[Doorman, str]]:
    doorman, server = Doorman(), grpc.aio.server()
    server.add_generic_rpc_handlers((doorman,))
    key, certificate = authority.issue("localhost")
    pair, root = [(key.encode(), certificate.encode())], authority.pem.encode()
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials(pair, root, require_client_auth=True))
    await server.start()
    yield doorman, f"localhost:{port}"
    await server.stop(None)


@pytest.mark.parametrize("kind", [c360.Client, c360.AsyncClient])
async def test_it_shows_its_certificate_to_whom_its_root_has_issued(
    door: tuple[Doorman, str], authority: Authority, kind: Any
) -> None:
    doorman, address = door
    key, certificate = authority.issue("mailer.internal")
    tls = c360.Tls(authority.pem.encode(), certificate.encode(), key.encode())
    settings = c360.Settings(c360.Addresses(profile=address), token="mine", tls=tls, timeout_s=DEADLINE_S)
    async with Backend(kind(settings)) as backend:
        await backend.lookup_customer(ADA, "service")
    assert doorman.came == ["Bearer mine"]


@pytest.mark.parametrize("kind", [c360.Client, c360.AsyncClient])
async def test_it_tells_nothing_to_whom_another_authority_has_issued(
    door: tuple[Doorman, str], authority: Authority, kind: Any
) -> None:
    doorman, address = door
    theirs = Authority("theirs")
    key, certificate = authority.issue("mailer.internal")
    tls = c360.Tls(theirs.pem.encode(), certificate.encode(), key.encode())
    async with Backend(kind(c360.Settings(c360.Addresses(profile=address), token="mine", tls=tls, timeout_s=1.0))) as backend:
        with pytest.raises((c360.Unavailable, c360.OutOfTime)):
            await backend.lookup_customer(ADA, "service")
    assert doorman.came == []
