"""A door that asks for a certificate, answers every call with nothing, and notes with which token it came."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from tests.live.certificates import Authority


class Doorman(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self.came: list[str] = []

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._note)

    async def _note(self, _request: bytes, context: Any) -> bytes:
        self.came.append(dict(context.invocation_metadata())["authorization"])
        return b""


@asynccontextmanager
async def door_of(authority: Authority) -> AsyncIterator[tuple[Doorman, str]]:
    """With its address."""
    doorman, server = Doorman(), grpc.aio.server()
    server.add_generic_rpc_handlers((doorman,))
    key, certificate = authority.issue("localhost")
    pair, root = [(key.encode(), certificate.encode())], authority.pem.encode()
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials(pair, root, require_client_auth=True))
    await server.start()
    yield doorman, f"localhost:{port}"
    await server.stop(None)
