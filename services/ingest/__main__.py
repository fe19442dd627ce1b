"""Composition of the ingest service."""

import asyncio
import os
import sys
import time
from pathlib import Path

from c360.ingest.v1.ingest_pb2_grpc import add_IngestServiceServicer_to_server

from services.ingest.api.grpc import IngestApi
from services.ingest.api.http import make_app
from services.ingest.api.server import HttpServer
from services.ingest.app import Ingest
from services.ingest.batcher import Batcher
from services.ingest.publisher import Publisher
from services.ingest.views import Sources
from shared import bus
from shared.config import Settings
from shared.ids import id_maker
from shared.instants import now_us
from shared.process import Stop, run_service, until_stopped
from shared.rpc import RpcServer
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault


class IngestSettings(Settings, frozen=True, kw_only=True):
    grpc_address: str = "127.0.0.1:50051"
    http_address: str = "127.0.0.1:8080"
    metrics_address: str = "127.0.0.1:9101"


async def serve(settings: IngestSettings, stop: Stop) -> None:
    rpc = RpcServer(settings.grpc_address)
    pool = await open_pool(settings.database_url, "ingest")
    vault_pool = await open_pool(settings.vault_url, "vault")
    vault = Vault(vault_pool, FileKeyring(Path(settings.keyring_file)))
    client = await bus.connect(settings.nats_url, "ingest")
    new_id = id_maker(now_us)
    publisher = Publisher(client, vault, now_us, new_id)
    batcher = Batcher(publisher.publish)
    sources = Sources(pool, time.monotonic)
    ingest = Ingest(pool, sources, batcher, now_us, new_id, os.urandom)
    http = HttpServer(settings.http_address, make_app(ingest))
    rpc.add(add_IngestServiceServicer_to_server, IngestApi(ingest), "c360.ingest.v1.IngestService")
    await publisher.open()
    await rpc.start()
    await rpc.set_ready(True)
    batching = asyncio.create_task(batcher.run())
    serving = asyncio.create_task(http.run())

    async def drain() -> None:
        """The doors close first: what is under way in them is still published and answered."""
        await asyncio.gather(http.stop(), rpc.stop())
        batcher.close()
        await batching

    try:
        await until_stopped(stop, drain, publisher.keep_keys_ahead(), _failure_of(batching), _failure_of(serving))
    finally:
        await client.close()
        await asyncio.gather(pool.close(), vault_pool.close())


async def _failure_of(task: asyncio.Task[None]) -> None:
    """Raises what the task raises. Its orderly end is part of the drain, not the end of it."""
    await asyncio.shield(task)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(run_service("ingest", IngestSettings, serve))
