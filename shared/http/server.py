"""uvicorn inside our own event loop and process, with our own signals and logs."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

from shared.config import ConfigError, split_address
from shared.http.connections import BoundedProtocol
from shared.waiting import wait_for_news

DRAIN_S: Final = 6  # longer than a publish takes to be given up, so that every request under way gets its answer
KEEP_ALIVE_S: Final = 75  # longer than SDKs pause between batches
BACKLOG: Final = 2_048
LOOK_S: Final = 1.0  # as the date in answers goes on


class _Embedded(uvicorn.Server):
    """It looks once a second, and at once when it is to leave: its own ten looks a second were much of what an idle service took."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            await wait_for_news(self._leaving, LOOK_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Bound when made; `run` serves until `stop`, which returns when the requests under way have their answers."""

    def __init__(self, address: str, app: Any, protocol: type[BoundedProtocol], tls: ssl.SSLContext | None = None) -> None:
        """Without `tls` calls come in clear."""
        self._socket = _bind(address)
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,  # what it would log of a request may be personal
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
            backlog=BACKLOG,
            ssl_context_factory=(lambda _config, _usual: tls) if tls else None,
        )
        self._server = _Embedded(config)
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        self._server.leave()
        await self._stopped.wait()


def _bind(address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        return socket.create_server((host, port), backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"C360_HTTP_ADDRESS {address}: {error.strerror}") from error
