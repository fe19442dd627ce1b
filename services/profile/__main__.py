"""Composition of the profile service."""

import asyncio
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from c360.parked.v1.parked_pb2_grpc import add_ParkedServiceServicer_to_server
from c360.profile.v1.export_pb2_grpc import add_ExportServiceServicer_to_server
from c360.profile.v1.profile_pb2_grpc import add_ProfileServiceServicer_to_server

from services.profile.api import ProfileApi
from services.profile.app import Profiles, Timelines
from services.profile.cache import LoadingCache
from services.profile.export_api import ExportApi
from services.profile.exports import Exports
from services.profile.follow import ConsentFollower, follow_customers
from services.profile.history import History
from services.profile.hub import Hub
from services.profile.notices import Notices
from services.profile.purging import Purger
from services.profile.record import Recorder
from services.profile.replay import Replayer
from services.profile.snapshots import Snapshots
from services.profile.views import Consents, Identifiers, States
from shared import bus
from shared.bus.destructions import heed
from shared.bus.enforcement import Lease
from shared.bus.purging import answer
from shared.config import Settings
from shared.events.consent import PurposeDefined
from shared.ids import id_maker, to_text
from shared.instants import now_us
from shared.log import LogReader, LogWriter, Record
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

CACHED_STREAMS = 20_000  # states, a few KB each
CACHED_IDENTIFIERS = 100_000  # their decisions


class ProfileSettings(Settings, frozen=True, kw_only=True):
    grpc_address: str = "127.0.0.1:50053"
    metrics_address: str = "127.0.0.1:9103"


async def serve(settings: ProfileSettings, stop: Stop) -> None:
    server = RpcServer(settings.grpc_address)
    pool = await open_pool(settings.database_url, "profile")
    keyring = FileKeyring(Path(settings.keyring_file))
    vault_pool = await open_pool(settings.vault_url, "vault")
    vault = Vault(vault_pool, keyring)
    client = await bus.connect(settings.nats_url, "profile")

    progress, hub, reader = Progress(), Hub(), LogReader(pool)
    identifiers, consents = Identifiers(pool, settings.partitions), Consents(pool, settings.partitions)
    history = History(reader, vault, Snapshots(pool, settings.partitions), settings.partitions)
    states = States(pool, vault, history, settings.partitions)
    held = LoadingCache(states.load, CACHED_STREAMS)
    decisions = LoadingCache(consents.decisions, CACHED_IDENTIFIERS)
    purposes: dict[str, PurposeDefined] = {}

    lease = Lease(client, to_text(id_maker(now_us)()), lambda: progress.applied("consent"), time.monotonic)
    writer = LogWriter(pool, range(settings.partitions), now_us)
    parked = ParkedTable(pool, now_us)
    recorder = Recorder(writer, states, identifiers, parked, held, decisions, vault, progress)
    recorder.run = Run(settings.poison_run_limit)
    notices = [Notices(client, reader, partition) for partition in writer.partitions]

    def on_changed(records: Sequence[Record]) -> None:
        hub.changed({record.entry.stream for record in records})
        for partition in {record.partition for record in records}:
            notices[partition].tell()

    def on_destroyed(owners: Collection[bytes]) -> None:
        held.drop(owners)
        hub.changed(owners)

    recorder.on_changed = on_changed
    purger = Purger(pool, reader, held, vault, progress, settings.partitions)
    consent = ConsentFollower(consents, purposes, decisions, progress, lease, hub)
    profiles = Profiles(
        history, identifiers, held, decisions, purposes, vault, lease.holds, writer.settle, now_us, settings.partitions
    )
    replayer = Replayer(settings.database_url, vault, settings.partitions)
    api = ProfileApi(profiles, Timelines(profiles, vault), replayer, progress, hub)
    server.add(add_ProfileServiceServicer_to_server, api, "c360.profile.v1.ProfileService")
    exports = Exports(profiles, states, reader, vault, writer.settle, settings.partitions)
    export = ExportApi(profiles, exports, progress)
    server.add(add_ExportServiceServicer_to_server, export, "c360.profile.v1.ExportService")
    checkpoints = serve_log(server, pool, "profile", keyring, now_us, settings.partitions)
    server.add(add_ParkedServiceServicer_to_server, ParkedApi("profile", parked, recorder.replay), PARKED)

    async def become_ready() -> None:
        await consent.informed.wait()
        await server.set_ready(True)

    await server.start()
    try:
        await until_stopped(
            stop,
            server.stop,
            become_ready(),
            keep_going("follow customers", lambda: follow_customers(client, recorder), server.halt),
            keep_going("follow consent", lambda: consent.follow(client), server.halt),
            keep_going("sign checkpoints", checkpoints.run, server.halt),
            heed(client, vault, on_destroyed, held.clear),
            keep_going("answer about erasures", lambda: answer(client, "profile", purger.report)),
            lease.run(),
            *(notice.run() for notice in notices),
        )
    finally:
        await lease.leave()
        replayer.close()
        await client.close()
        await asyncio.gather(pool.close(), vault_pool.close())


if __name__ == "__main__":
    sys.exit(run_service("profile", ProfileSettings, serve))
