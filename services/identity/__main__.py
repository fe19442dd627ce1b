"""The identity service: opens what it needs, composes its parts, answers, and runs what runs behind."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from c360.identity.v1.decision_pb2_grpc import add_DecisionServiceServicer_to_server
from c360.identity.v1.explanation_pb2_grpc import add_ExplanationServiceServicer_to_server
from c360.identity.v1.identity_pb2_grpc import add_IdentityServiceServicer_to_server
from c360.identity.v1.matching_pb2_grpc import add_MatchingServiceServicer_to_server
from c360.identity.v1.rules_pb2_grpc import add_RulesServiceServicer_to_server
from c360.parked.v1.parked_pb2_grpc import add_ParkedServiceServicer_to_server
from nats.aio.client import Client

from services.identity.api.decisions import SERVICE_NAME as DECISIONS
from services.identity.api.decisions import DecisionApi
from services.identity.api.erasure import ErasureApi
from services.identity.api.explanation import ExplanationApi
from services.identity.api.identity import LOOKUPS, IdentityApi
from services.identity.api.matching import MatchingApi
from services.identity.api.rules import SERVICE_NAME as RULES
from services.identity.api.rules import RulesApi
from services.identity.committed import look
from services.identity.composition import IdentitySettings, Parts, compose
from services.identity.follow import follow_ingest, replay
from services.identity.tables.erasures import version_of
from shared import bus, health
from shared.bus.callers import follow_callers
from shared.bus.destructions import heed
from shared.committed import follow_committed
from shared.instants import now_us
from shared.log.ownership import Ownership, open_ownership
from shared.process import Stop, keep_going, run_service, until_stopped
from shared.rpc import RpcServer
from shared.rpc.log import serve_log
from shared.rpc.parked import SERVICE_NAME as PARKED
from shared.rpc.parked import ParkedApi
from shared.rpc.security import secure
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from shared.waiting import end

# How long what is looked at beside the writer may keep Python's lock from the loop (five milliseconds by default), which asks for it
# with every answer of the database (decision 72).
LOCK_TURN_S = 0.0005


async def serve(settings: IdentitySettings, stop: Stop) -> None:
    sys.setswitchinterval(LOCK_TURN_S)
    server = RpcServer(settings.grpc_address, security=secure(settings, now_us))
    pool = await open_pool(settings.database_url, "identity")
    keyring = FileKeyring(Path(settings.keyring_file))
    vault_pool = await open_pool(settings.vault_url, "vault")
    vault = Vault(vault_pool, keyring)
    client = await bus.connect(settings.nats_url, "identity", settings.nats_replicas, settings.nats_ca)
    parts = compose(settings, pool, vault, keyring, client)
    _answer(server, parts, pool, vault, keyring)
    checkpoints = serve_log(server, pool, "identity", keyring, now_us, known=lambda stream: version_of(pool, stream))
    ownership = await open_ownership(settings.database_url, "identity", settings.replica_name)
    await server.start_standing_by(lambda: _stand_by(ownership, server, client, parts, pool), LOOKUPS)
    await server.set_ready(True)
    try:
        await until_stopped(
            stop,
            server.stop,
            client.until_refused(),
            keep_going("follow ingest", lambda: follow_ingest(client, parts.unifier, vault, parts.ledger.run), server.halt),
            keep_going("settle behind the events", parts.settler.run, server.halt),
            keep_going("publish", parts.relay.run, server.halt),
            keep_going("match", lambda: _match(parts), server.halt),
            keep_going("sign checkpoints", checkpoints.run, server.halt),
            keep_going("follow the callers", lambda: follow_callers(client, server.callers), server.halt),
            keep_going("follow the rules", parts.activator.run, server.halt),
            keep_going("erase", parts.eraser.run, server.halt),
            keep_going("expire proposals", parts.expiry.run, server.halt),
            keep_going("destroy epoch keys", parts.epochs.run, server.halt),
            heed(client, vault),
            keep_going("see that the log is its own", parts.ledger.until_fenced, server.halt),
            ownership.keep(),
        )
    finally:
        await ownership.give_up()
        await client.close()
        await asyncio.gather(pool.close(), vault_pool.close())


async def _stand_by(ownership: Ownership, server: RpcServer, client: Client, parts: Parts, pool: Any) -> None:
    """Until this process owns the log. What look-ups need is followed meanwhile; whoever owns the log follows it otherwise."""
    await server.set_answering(health.LOOKUPS, health.READS)
    beside = (
        keep_going("follow the callers", lambda: follow_callers(client, server.callers), server.halt),
        keep_going("follow what is committed", lambda: follow_committed(parts.progress, lambda: look(pool, parts.progress))),
    )
    tasks = [asyncio.create_task(work) for work in beside]
    try:
        await ownership.take()
    finally:
        await end(tasks)


def _answer(server: RpcServer, parts: Parts, pool: Any, vault: Vault, keyring: FileKeyring) -> None:
    key, progress, graph = vault.lookup_key, parts.progress, parts.unifier.graph
    erasure_api = ErasureApi(pool, parts.ledger, parts.eraser, parts.holds, keyring, progress)
    api = IdentityApi(pool, parts.ledger, key, progress, erasure_api, parts.expiry)
    server.add(add_IdentityServiceServicer_to_server, api, "c360.identity.v1.IdentityService")
    server.add(add_DecisionServiceServicer_to_server, DecisionApi(pool, parts.ledger, parts.decider, key, progress), DECISIONS)
    explanation_api = ExplanationApi(parts.explanations, key, progress)
    server.add(add_ExplanationServiceServicer_to_server, explanation_api, "c360.identity.v1.ExplanationService")
    rules_api = RulesApi(pool, parts.ledger, parts.activator, parts.checks, parts.simulation, parts.explanations, key, progress)
    server.add(add_RulesServiceServicer_to_server, rules_api, RULES)
    matching_api = MatchingApi(
        pool, key, parts.matcher, parts.seen_again, graph, parts.model_activator, parts.checks, parts.explanations
    )
    server.add(add_MatchingServiceServicer_to_server, matching_api, "c360.identity.v1.MatchingService")
    parked_api = ParkedApi("identity", parts.ledger.parked, lambda one: replay(one, parts.unifier, vault))
    server.add(add_ParkedServiceServicer_to_server, parked_api, PARKED)


async def _match(parts: Parts) -> None:
    await parts.model_activator.record_shipped()
    await parts.matcher.run()


if __name__ == "__main__":
    sys.exit(run_service("identity", IdentitySettings, serve))
