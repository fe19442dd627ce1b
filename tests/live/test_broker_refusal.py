"""An account that has another password by now: the process ends, so that who starts it again gives it the new one."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from services.stack.broker_accounts import authorization
from services.stack.nats import CONFIGURATION, _find_program
from services.stack.ports import HOST, choose_ports
from shared import bus
from shared.bus.connection import AccountRefused

TIMEOUT_S = 60.0


class Server:
    """A broker whose accounts all have one password."""

    def __init__(self, folder: Path) -> None:
        ports = choose_ports(prefer_defaults=False)
        self._folder, self._port, self._monitor = folder, ports["nats"], ports["nats_monitor"]
        self._process: asyncio.subprocess.Process | None = None

    def url(self, password: str) -> str:
        return f"nats://profile:{password}@{HOST}:{self._port}"

    def write(self, password: str) -> None:
        where = {"name": "refusing", "host": HOST, "port": self._port, "monitor_port": self._monitor, "store": self._folder}
        (self._folder / "nats.conf").write_text(CONFIGURATION.format(**where, more=authorization(lambda _account: password)))

    async def start(self, password: str) -> None:
        self.write(password)
        command = (_find_program(), "--config", str(self._folder / "nats.conf"))
        self._process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)

    def reload(self, password: str) -> None:
        self.write(password)
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    await server.start("old")
    yield server
    await server.stop()


async def test_who_comes_with_the_wrong_password_does_not_wait_for_ever(server: Server) -> None:
    client = await asyncio.wait_for(bus.connect(server.url("old"), "test"), TIMEOUT_S)  # it is up
    await client.close()
    with pytest.raises(AccountRefused):
        await asyncio.wait_for(bus.connect(server.url("wrong"), "test"), TIMEOUT_S)


async def test_who_is_connected_while_the_password_changes_is_told(server: Server) -> None:
    client = await asyncio.wait_for(bus.connect(server.url("old"), "test"), TIMEOUT_S)
    refused = asyncio.create_task(client.until_refused())
    server.reload("new")
    with pytest.raises(AccountRefused):
        await asyncio.wait_for(refused, TIMEOUT_S)
    again = await asyncio.wait_for(bus.connect(server.url("new"), "test"), TIMEOUT_S)
    assert again.is_connected
    await again.close()
    await client.close()


async def test_who_comes_back_after_the_password_changed_is_told(server: Server) -> None:
    client = await asyncio.wait_for(bus.connect(server.url("old"), "test"), TIMEOUT_S)
    await server.stop()
    await server.start("new")
    with pytest.raises(AccountRefused):
        await asyncio.wait_for(client.until_refused(), TIMEOUT_S)
    await client.close()


async def test_a_broker_that_is_away_is_no_refusal(server: Server) -> None:
    client = await asyncio.wait_for(bus.connect(server.url("old"), "test"), TIMEOUT_S)
    refused = asyncio.create_task(client.until_refused())
    await server.stop()
    await server.start("old")
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                await client.flush(timeout=1)
                break
            except (nats.errors.Error, TimeoutError):
                await asyncio.sleep(0.05)
    assert not refused.done()
    await client.close()
    await asyncio.sleep(0)
    assert not refused.done(), "nor is it one to be closed"
    refused.cancel()
