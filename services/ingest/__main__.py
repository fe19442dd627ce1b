"""Composition of the ingest service."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
from c360.ingest.v1.plan_pb2_grpc import add_PlanServiceServicer_to_server
from c360.ingest.v1.receipt_pb2_grpc import add_ReceiptServiceServicer_to_server
from c360.ingest.v1.source_pb2_grpc import add_SourceServiceServicer_to_server

from services.ingest.api.answers import SenderProtocol
from services.ingest.api.grpc import MAX_RECEIVE_BYTES, SERVICE, IngestApi, add_to_server
from services.ingest.api.http import make_app
from services.ingest.api.plans import PlanApi
from services.ingest.api.receipts import ReceiptApi
from services.ingest.api.sources import SourceApi
from services.ingest.app import Ingest
from services.ingest.backlog import MAX_AGE_S, MAX_EVENTS, Backlog, Limits
from services.ingest.batcher import Batcher
from services.ingest.discarding import Discarding
from services.ingest.domain.settings import MOST_BATCH_EVENTS
from services.ingest.explaining import Explaining
from services.ingest.follow import fill_backlog, follow_customers
from services.ingest.inquiry import Inquiry
from services.ingest.memory import Memory
from services.ingest.news import follow_sources, reload
from services.ingest.publisher import Publisher
from services.ingest.purging import Purger
from services.ingest.quarantine import Quarantine
from services.ingest.receipts import Receipts
from services.ingest.registrar import Registrar
from services.ingest.registry import Registry
from services.ingest.replaying import Replaying
from services.ingest.verdicts import Verdicts
from services.ingest.views import Sources
from services.ingest.violations import Violations
from shared import bus
from shared.bus.callers import follow_callers
from shared.bus.destructions import heed
from shared.bus.purging import answer
from shared.config import Settings
from shared.events.wire import SOURCE_STREAM
from shared.http.server import HttpServer
from shared.http.tls import tls_of
from shared.ids import id_maker
from shared.instants import now_us
from shared.process import Stop, keep_going, run_service, until_stopped
from shared.rpc import RpcServer
from shared.rpc.log import serve_log
from shared.rpc.security import secure
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault

BacklogEvents = Annotated[int, msgspec.Meta(ge=MOST_BATCH_EVENTS)]  # less could never take a full batch
BacklogAge = Annotated[int, msgspec.Meta(ge=1)]


class IngestSettings(Settings, frozen=True, kw_only=True):
    grpc_address: str = "127.0.0.1:50051"
    http_address: str = "127.0.0.1:8080"
    metrics_address: str = "127.0.0.1:9101"
    backlog_events: BacklogEvents = MAX_EVENTS
    backlog_age_s: BacklogAge = MAX_AGE_S


async def serve(settings: IngestSettings, stop: Stop) -> None:
    rpc = RpcServer(settings.grpc_address, MAX_RECEIVE_BYTES, secure(settings, now_us))
    pool = await open_pool(settings.database_url, "ingest")
    vault_pool, keyring = await open_pool(settings.vault_url, "vault"), FileKeyring(Path(settings.keyring_file))
    vault = Vault(vault_pool, keyring)
    client = await bus.connect(settings.nats_url, "ingest", settings.nats_replicas, settings.nats_ca)
    new_id = id_maker(now_us)
    publisher = Publisher(client, vault, now_us, new_id)
    batcher = Batcher(publisher.publish)
    sources = Sources(pool, time.monotonic)
    registrar = Registrar(settings.database_url, now_us, new_id)
    registry = Registry(pool, sources, registrar, os.urandom)
    quarantine, violations = Quarantine(pool, vault, now_us), Violations(pool)
    receipts, verdicts = Receipts(pool), Verdicts(pool, now_us)
    backlog = Backlog(Limits(settings.backlog_events, settings.backlog_age_s), now_us)
    memory = Memory(backlog, receipts, batcher.submit, time.monotonic)
    ingest = Ingest(sources, memory, quarantine, violations, verdicts.remember, now_us, time.monotonic, new_id)
    inquiry = Inquiry(backlog, receipts, verdicts, quarantine.rules_of)
    replaying = Replaying(sources, quarantine, memory)
    relay = bus.Relay(client, SOURCE_STREAM, registry.read_outbox, max_age_s=None)
    registry.on_committed = relay.tell
    http = HttpServer(settings.http_address, make_app(ingest), SenderProtocol, tls_of(settings))
    api = IngestApi(ingest, registry, sources)
    rpc.add(add_to_server, api, SERVICE)
    rpc.add(add_SourceServiceServicer_to_server, SourceApi(registry, sources), "c360.ingest.v1.SourceService")
    explaining = Explaining(sources, quarantine)
    discarding = Discarding(sources, quarantine, verdicts)
    plan_api = PlanApi(registry, sources, quarantine, violations, explaining, replaying, discarding, now_us)
    rpc.add(add_PlanServiceServicer_to_server, plan_api, "c360.ingest.v1.PlanService")
    rpc.add(add_ReceiptServiceServicer_to_server, ReceiptApi(ingest, inquiry), "c360.ingest.v1.ReceiptService")
    checkpoints = serve_log(rpc, pool, "ingest", keyring, now_us)
    await publisher.open()
    await keep_going("load the receipts", receipts.load)
    await keep_going("know the backlog", lambda: fill_backlog(client, vault, backlog, receipts))
    await rpc.start()
    await rpc.set_ready(True)

    async def drain() -> None:
        """The doors close first: what is under way in them is still published and answered."""
        api.streams.close()
        await asyncio.gather(http.stop(), rpc.stop())
        batcher.close()

    async def doors_stay_open() -> None:
        """What SOURCE can't tell any more, the tables do, every RELOAD_S."""

    try:
        await until_stopped(
            stop,
            drain,
            client.until_refused(),
            heed(client, vault),
            batcher.run(),
            http.run(),
            keep_going("follow customers", lambda: follow_customers(client, receipts, backlog)),
            keep_going("sign checkpoints", checkpoints.run),
            keep_going("follow the callers", lambda: follow_callers(client, rpc.callers), rpc.halt),
            keep_going("publish", relay.run, doors_stay_open),
            keep_going("follow sources", lambda: follow_sources(client, pool, sources), doors_stay_open),
            keep_going("look at the sources", lambda: reload(sources)),
            keep_going("make the next key", publisher.keep_keys_ahead),
            keep_going("remember verdicts", verdicts.run),
            keep_going("count violations", violations.run),
            keep_going("end the quarantine", quarantine.keep_expiring),
            keep_going("answer about erasures", lambda: answer(client, "ingest", Purger(quarantine).report)),
        )
    finally:
        registrar.close()
        await client.close()
        await asyncio.gather(pool.close(), vault_pool.close())


if __name__ == "__main__":
    sys.exit(run_service("ingest", IngestSettings, serve))
