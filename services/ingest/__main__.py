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
from shared.bus.destructions import heed
from shared.config import Settings
from shared.ids import id_maker
from shared.instants import now_us
from shared.process import Stop, keep_going, run_service, until_stopped
from shared.rpc import RpcServer
from shared.rpc.log import serve_log
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
    keyring = FileKeyring(Path(settings.keyring_file))
    vault = Vault(vault_pool, keyring)
    client = await bus.connect(settings.nats_url, "ingest")
    new_id = id_maker(now_us)
    publisher = Publisher(client, vault, now_us, new_id)
    batcher = Batcher(publisher.publish)
    sources = Sources(pool, time.monotonic)
    ingest = Ingest(pool, sources, batcher, now_us, new_id, os.urandom)
    http = HttpServer(settings.http_address, make_app(ingest))
    rpc.add(add_IngestServiceServicer_to_server, IngestApi(ingest), "c360.ingest.v1.IngestService")
    checkpoints = serve_log(rpc, pool, "ingest", keyring, now_us)
    await publisher.open()
    await rpc.start()
    await rpc.set_ready(True)

    async def drain() -> None:
        """The doors close first: what is under way in them is still published and answered."""
        await asyncio.gather(http.stop(), rpc.stop())
        batcher.close()

    try:
        await until_stopped(
            stop,
            drain,
            publisher.keep_keys_ahead(),
            heed(client, vault),
            batcher.run(),
            http.run(),
            keep_going("sign checkpoints", checkpoints.run),
        )
    finally:
        await client.close()
        await asyncio.gather(pool.close(), vault_pool.close())


if __name__ == "__main__":
    sys.exit(run_service("ingest", IngestSettings, serve))
