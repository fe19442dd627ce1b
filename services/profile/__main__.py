"""The profile service: opens what it needs, composes its parts, answers, and runs what runs behind."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from c360.parked.v1.parked_pb2_grpc import add_ParkedServiceServicer_to_server
from c360.profile.v1.disclosure_pb2_grpc import add_DisclosureServiceServicer_to_server
from c360.profile.v1.export_pb2_grpc import add_ExportServiceServicer_to_server
from c360.profile.v1.history_pb2_grpc import add_HistoryServiceServicer_to_server
from c360.profile.v1.policy_pb2_grpc import add_PolicyServiceServicer_to_server
from c360.profile.v1.profile_pb2_grpc import add_ProfileServiceServicer_to_server
from c360.profile.v1.rules_pb2_grpc import add_ProfileRulesServiceServicer_to_server
from c360.profile.v1.segment_pb2_grpc import add_SegmentServiceServicer_to_server
from c360.profile.v1.watch_pb2_grpc import add_WatchServiceServicer_to_server
from nats.aio.client import Client

from services.profile.api.disclosing import ReadyReads, answering
from services.profile.api.disclosures import SERVICE_NAME as DISCLOSURES
from services.profile.api.disclosures import DisclosureApi
from services.profile.api.etags import tagger
from services.profile.api.export import ExportApi
from services.profile.api.history import HistoryApi
from services.profile.api.places import Places
from services.profile.api.policy import SERVICE_NAME as POLICY
from services.profile.api.policy import PolicyApi
from services.profile.api.profile import ProfileApi
from services.profile.api.rules import SERVICE_NAME as RULES
from services.profile.api.rules import ProfileRulesApi
from services.profile.api.segments import SegmentApi
from services.profile.api.watch import WatchApi
from services.profile.composing_disclosures import Disclosures, compose_disclosures
from services.profile.composition import Parts, ProfileSettings, compose
from services.profile.follow import follow_customers
from services.profile.http import again
from services.profile.http.answers import ReaderProtocol
from services.profile.http.disclosing import record_key
from services.profile.http.door import ProfileDoor, make_app
from services.profile.replay import Replayer
from services.profile.standing_by import ANSWERED, stand_by
from services.profile.tables.editions import watch
from shared import bus
from shared.access_tokens import TokenFile
from shared.bus.callers import follow_callers
from shared.bus.destructions import heed
from shared.bus.purging import answer
from shared.bus.settling import answer_settling
from shared.http.server import HttpServer
from shared.http.tls import tls_of
from shared.ids import id_maker
from shared.instants import now_us
from shared.log.ownership import open_ownership
from shared.process import Stop, keep_going, run_service, until_stopped
from shared.rpc import RpcServer
from shared.rpc.log import log_of, serve_logs
from shared.rpc.parked import SERVICE_NAME as PARKED
from shared.rpc.parked import ParkedApi
from shared.rpc.security import secure
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from shared.waiting import end


async def serve(settings: ProfileSettings, stop: Stop) -> None:
    server = RpcServer(settings.grpc_address, security=secure(settings, now_us))
    pool = await open_pool(settings.database_url, "profile")
    keyring = FileKeyring(Path(settings.keyring_file))
    vault_pool = await open_pool(settings.vault_url, "vault")
    vault = Vault(vault_pool, keyring)
    client = await bus.connect(settings.nats_url, "profile", settings.nats_replicas, settings.nats_ca)
    disclosed_pool = await open_pool(settings.database_url, "disclosures")
    standby = await open_pool(settings.read_database_url, "profile", waits=False) if settings.read_database_url else None
    parts = compose(settings, pool, vault, client, standby=standby)
    disclosures = compose_disclosures(settings, parts, pool, disclosed_pool)
    replayer = Replayer(settings.database_url, vault, settings.partitions)
    answer_calls(server, parts, disclosures, replayer, vault.lookup_key)
    doors = _open_http(settings, parts, disclosures, keyring)
    logs = (
        log_of(pool, "profile", keyring, now_us, settings.partitions, parts.states.version_of),
        log_of(disclosed_pool, "disclosures", keyring, now_us),
    )
    serve_logs(server, *logs)

    async def become_ready() -> None:
        await parts.consent.informed.wait()
        await server.set_ready(True)

    ownership = await open_ownership(settings.database_url, "profile", settings.replica_name)

    lasting = [
        asyncio.create_task(work)
        for work in (
            heed(client, vault, parts.on_destroyed, parts.held.clear),
            keep_going("notice another edition", lambda: watch(pool, parts.on_replaced)),
            keep_going("follow the callers", lambda: follow_callers(client, server.callers), server.halt),
            parts.lease.run(),
        )
    ]
    try:
        await server.start_standing_by(lambda: stand_by(ownership, server, client, pool, parts, disclosures.disclosed), ANSWERED)
        await until_stopped(
            stop,
            lambda: _close(server, doors),
            client.until_refused(),
            become_ready(),
            *(door.run() for door in doors),
            keep_going("follow customers", lambda: follow_customers(client, parts.recorder), server.halt),
            keep_going("follow consent", lambda: parts.consent.follow(client), server.halt),
            keep_going("follow the rules", parts.activator.run),
            keep_going("keep snapshots", parts.snapshotter.run),
            keep_going("keep memberships", parts.keeper.run),
            keep_going("keep memberships of who takes long", parts.keeper.late.run),
            *(keep_going(f"sign checkpoints of {log.log}", log.checkpoints.run, server.halt) for log in logs),
            *(_going_on(task) for task in lasting),
            keep_going("answer about erasures", lambda: answer(client, "profile", parts.purger.report)),
            keep_going("promise what is known", lambda: _promise(client, parts)),
            *(notice.run() for notice in parts.notices),
            ownership.keep(),
        )
    finally:
        await end(lasting)
        await parts.lease.leave()
        await ownership.give_up()
        replayer.close()
        await client.close()
        await disclosures.log.close()
        pools = (pool, disclosed_pool, vault_pool, *([standby] if standby else []))
        await asyncio.gather(*(one.close() for one in pools))


async def _going_on(task: asyncio.Task[Any]) -> None:
    """With what was begun while this process stood by, and mustn't stop in between: of destroyed keys it is told once."""
    await task


async def _promise(client: Client, parts: Parts) -> None:
    await answer_settling(client, "profile", parts.recorder.writer.settle, lambda: parts.recorder.writer.heads)


def _open_http(settings: ProfileSettings, parts: Parts, disclosures: Disclosures, keyring: FileKeyring) -> list[HttpServer]:
    """None without a list of who may read through it."""
    if not settings.access_tokens_file:
        return []
    tokens = TokenFile(Path(settings.access_tokens_file))
    door = ProfileDoor(
        parts.profiles,
        parts.belongings,
        parts.timelines,
        parts.origins,
        parts.progress,
        tokens,
        keyring.lookup_key,
        disclosures.disclosed,
    )
    return [HttpServer(settings.http_address, make_app(door, id_maker(now_us)), ReaderProtocol, tls_of(settings))]


async def _close(server: RpcServer, doors: Sequence[HttpServer]) -> None:
    await asyncio.gather(server.stop(), *(door.stop() for door in doors))


def answer_calls(server: RpcServer, parts: Parts, disclosures: Disclosures, replayer: Replayer, lookup_key: bytes) -> None:
    disclosed, tag, places = disclosures.disclosed, tagger(lookup_key), Places(lookup_key)
    api = ProfileApi(
        parts.profiles, parts.timelines, replayer, parts.progress, parts.watches, parts.batches, tag, parts.ready, disclosed
    )
    ready = ReadyReads(parts.ready, disclosures.disclosing, "GetProfile")
    server.add(add_ProfileServiceServicer_to_server, api, "c360.profile.v1.ProfileService", {"GetProfile": ready.find})
    rederiving = disclosures.rederive(answering(tag), again.answering(record_key(lookup_key), parts.origins))
    disclosing = DisclosureApi(parts.profiles, disclosures.who_read, disclosures.exposures, rederiving)
    server.add(add_DisclosureServiceServicer_to_server, disclosing, DISCLOSURES)
    policy = PolicyApi(parts.profiles, disclosures.policies, parts.held)
    server.add(add_PolicyServiceServicer_to_server, policy, POLICY)
    history = HistoryApi(parts.profiles, parts.differences, parts.walks, parts.progress, disclosed)
    server.add(add_HistoryServiceServicer_to_server, history, "c360.profile.v1.HistoryService")
    watch = WatchApi(parts.profiles, parts.batches, parts.watches, parts.progress, disclosed)
    server.add(add_WatchServiceServicer_to_server, watch, "c360.profile.v1.WatchService")
    segments = SegmentApi(
        parts.profiles,
        parts.rulebook,
        parts.memberships,
        parts.listed,
        parts.belongings,
        parts.past_members,
        parts.keeper,
        parts.progress,
        places,
        disclosed,
    )
    server.add(add_SegmentServiceServicer_to_server, segments, "c360.profile.v1.SegmentService")
    export = ExportApi(parts.profiles, parts.exports, parts.changes, parts.lapses, parts.progress, places, disclosed)
    server.add(add_ExportServiceServicer_to_server, export, "c360.profile.v1.ExportService")
    rules = ProfileRulesApi(
        parts.profiles, parts.rulebook, parts.states, parts.activator, parts.simulation, parts.explaining, parts.progress, disclosed
    )
    server.add(add_ProfileRulesServiceServicer_to_server, rules, RULES)
    server.add(add_ParkedServiceServicer_to_server, ParkedApi("profile", parts.parked, parts.recorder.replay), PARKED)


if __name__ == "__main__":
    sys.exit(run_service("profile", ProfileSettings, serve))
