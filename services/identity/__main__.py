"""Composition of the identity service."""

import sys
from pathlib import Path

from c360.identity.v1.identity_pb2_grpc import add_IdentityServiceServicer_to_server
from c360.parked.v1.parked_pb2_grpc import add_ParkedServiceServicer_to_server

from services.identity.api import IdentityApi
from services.identity.app import Unifier
from services.identity.follow import follow_ingest, replay
from services.identity.outbox import Outbox
from shared import bus
from shared.config import Settings
from shared.events.wire import CUSTOMER_STREAM
from shared.ids import id_maker
from shared.instants import now_us
from shared.log import LogReader, LogWriter
from shared.parked import ParkedTable
from shared.poison import Run
from shared.positions import Progress
from shared.process import Stop, keep_going, run_service, until_stopped
from shared.rpc import RpcServer
from shared.rpc.log import serve_log
from shared.rpc.parked import SERVICE_NAME as PARKED
from shared.rpc.parked import ParkedApi
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault


class IdentitySettings(Settings, frozen=True, kw_only=True):
    grpc_address: str = "127.0.0.1:50052"
    metrics_address: str = "127.0.0.1:9102"


async def serve(settings: IdentitySettings, stop: Stop) -> None:
    server = RpcServer(settings.grpc_address)
    pool = await open_pool(settings.database_url, "identity")
    keyring = FileKeyring(Path(settings.keyring_file))
    vault = Vault(await open_pool(settings.vault_url, "vault"), keyring)
    client = await bus.connect(settings.nats_url, "identity")
    progress, outbox, parked = Progress(), Outbox(pool), ParkedTable(pool, now_us)
    unifier = Unifier(pool, LogWriter(pool, [0], now_us), outbox, parked, vault, progress, now_us, id_maker(now_us))
    relay = bus.Relay(client, CUSTOMER_STREAM, outbox.read)
    unifier.run = Run(settings.poison_run_limit)
    unifier.on_committed = relay.tell
    server.add(
        add_IdentityServiceServicer_to_server,
        IdentityApi(pool, LogReader(pool), vault.lookup_key, progress),
        "c360.identity.v1.IdentityService",
    )
    server.add(
        add_ParkedServiceServicer_to_server,
        ParkedApi("identity", parked, lambda one: replay(one, unifier, vault)),
        PARKED,
    )
    checkpoints = serve_log(server, pool, "identity", keyring, now_us)
    await server.start()
    await server.set_ready(True)
    try:
        await until_stopped(
            stop,
            server.stop,
            keep_going("follow ingest", lambda: follow_ingest(client, unifier, vault), server.halt),
            keep_going("publish", relay.run, server.halt),
            keep_going("sign checkpoints", checkpoints.run, server.halt),
        )
    finally:
        await client.close()
        await pool.close()


if __name__ == "__main__":
    sys.exit(run_service("identity", IdentitySettings, serve))
