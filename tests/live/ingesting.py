"""An ingest process of our own on real servers, and a look into the stream it fills."""

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import nats
from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc

from services.stack.ports import HOST, choose_ports
from services.stack.probe import is_serving
from services.stack.stack import Stack
from shared.events.wire import INGEST_STREAM, RawEvent, decode_batch, decode_raw_events
from shared.vault import FileKeyring, Vault

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


class Door:
    """One ingest process. Several may run on the same servers."""

    def __init__(self, servers: Stack, log: Path) -> None:
        ports = choose_ports(False)
        self.http = f"http://{HOST}:{ports['ingest_http']}"
        self.grpc = f"{HOST}:{ports['ingest']}"
        self.settings = servers.environment_of("ingest") | {
            "C360_HTTP_ADDRESS": f"{HOST}:{ports['ingest_http']}",
            "C360_GRPC_ADDRESS": self.grpc,
            "C360_METRICS_ADDRESS": f"{HOST}:{ports['metrics_ingest']}",
            "C360_BACKLOG_AGE_S": "86400",  # where no identity runs, nothing is ever consumed
        }
        self.metrics = f"http://{HOST}:{ports['metrics_ingest']}/metrics"
        self.log = log
        self._servers = servers
        with log.open("ab") as output:
            command = (sys.executable, "-m", "services.ingest")
            self._process = subprocess.Popen(command, env=os.environ | self.settings, stdout=output, stderr=output)
        try:
            self._wait_ready()
            self.write_key = self.register(f"test-{uuid4()}").write_key
        except BaseException:
            self.stop()
            raise

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not is_serving(self.grpc):
            ended = self._process.poll() is not None
            assert not ended, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def register(self, name: str, request_id: str = "") -> ingest_pb2.RegisterSourceResponse:
        request = ingest_pb2.RegisterSourceRequest(request_id=request_id or str(uuid4()), name=name)
        with grpc.insecure_channel(self.grpc) as channel:
            return ingest_pb2_grpc.IngestServiceStub(channel).RegisterSource(request, timeout=10)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(STOP_TIMEOUT_S)

    def stop(self) -> int:
        """The exit code."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        finally:
            self._process.kill()

    async def message_at(self, position: str) -> list[RawEvent]:
        """The events in the message at "ingest/0/N"."""
        client = await nats.connect(self._servers.broker_url)
        try:
            message = await client.jetstream().get_msg(INGEST_STREAM, int(position.removeprefix("ingest/0/")))
        finally:
            await client.close()
        return (await self._open([message.data or b""]))[0]

    async def events_since(self, position: str) -> list[RawEvent]:
        """All events of the stream from a position on."""
        client = await nats.connect(self._servers.broker_url)
        messages: list[bytes] = []
        try:
            context = client.jetstream()
            last = (await context.stream_info(INGEST_STREAM)).state.last_seq
            for sequence in range(int(position.removeprefix("ingest/0/")), last + 1):
                messages.append((await context.get_msg(INGEST_STREAM, sequence)).data or b"")
        finally:
            await client.close()
        return [event for events in await self._open(messages) for event in events]

    async def _open(self, messages: list[bytes]) -> list[list[RawEvent]]:
        pool = await asyncpg.create_pool(self.settings["C360_VAULT_URL"], min_size=1, max_size=1)
        try:
            vault = Vault(pool, FileKeyring(Path(self.settings["C360_KEYRING_FILE"])))
            opened = []
            for batch in map(decode_batch, messages):
                key = await vault.key(batch.epoch)
                assert key is not None
                opened.append(decode_raw_events(key.open(batch.sealed, batch.epoch)))
                assert len(opened[-1]) == batch.count
            return opened
        finally:
            await pool.close()


def basic(write_key: str, colon: str = ":") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{write_key}{colon}".encode()).decode()}


def track(**fields: Any) -> dict[str, Any]:
    """A track call of a new person."""
    return {"type": "track", "event": "Order Completed", "userId": f"u-{uuid4()}", "messageId": str(uuid4())} | fields
