"""A channel backend as it calls by the Python client: from threads or from asyncio. And a door before a service that loses answers."""

import asyncio
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
from customer360_client import Addresses, AsyncClient, Client, Settings, token_file

from services.stack.stack import Stack

DEADLINE_S = 60.0  # generous: what is tested is the answer, not its speed
NOTHING_MORE = object()


def settings_of(stack: Stack, **how: Any) -> Settings:
    addresses = Addresses(stack.endpoints.profile, stack.endpoints.consent, stack.endpoints.ingest)
    usual: dict[str, Any] = {"addresses": addresses, "token": token_file(operator_token_file(stack)), "timeout_s": DEADLINE_S}
    return Settings(write_key=stack.write_key(), **usual | how)


def operator_token_file(stack: Stack) -> Path:
    return stack.data_directory / "secrets" / "operator-token"


class Backend:
    """The same calls by either client."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.call("close")

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self.call, name)

    async def call(self, name: str, *args: Any, **how: Any) -> Any:
        called = getattr(self.client, name)
        return await (asyncio.to_thread(called, *args, **how) if isinstance(self.client, Client) else called(*args, **how))

    async def each(self, name: str, *args: Any, **how: Any) -> AsyncIterator[Any]:
        """Of the calls that go on."""
        items = getattr(self.client, name)(*args, **how)
        if isinstance(self.client, Client):
            while (item := await asyncio.to_thread(next, items, NOTHING_MORE)) is not NOTHING_MORE:
                yield item
            return
        async for item in items:
            yield item


class LosesAnswers:
    """Passes calls on to `address`; of the first `lost` the answers get lost, after the service has done what they ask for."""

    def __init__(self, address: str, lost: int) -> None:
        self._target = grpc.aio.insecure_channel(address)
        self._lost = lost
        self.requests: list[bytes] = []
        self.told: list[tuple[str, bytes, bytes]] = []  # method, request, and what the service answered
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((_Every(self._pass_on),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)
        await self._target.close()

    async def _pass_on(self, method: str, request: bytes, context: Any) -> bytes:
        metadata = [(key, value) for key, value in context.invocation_metadata() if key == "authorization"]
        ask: Any = self._target.unary_unary(method)
        answer = await ask(request, metadata=metadata, timeout=DEADLINE_S)
        self.requests.append(request)
        self.told.append((method, request, bytes(answer)))
        if len(self.requests) <= self._lost:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        return bytes(answer)


class _Every(grpc.GenericRpcHandler):
    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(functools.partial(self._handle, details.method))
