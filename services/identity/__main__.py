"""Composition of the identity service."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from c360.identity.v1.decision_pb2_grpc import add_DecisionServiceServicer_to_server
from c360.identity.v1.explanation_pb2_grpc import add_ExplanationServiceServicer_to_server
from c360.identity.v1.identity_pb2_grpc import add_IdentityServiceServicer_to_server
from c360.identity.v1.matching_pb2_grpc import add_MatchingServiceServicer_to_server
from c360.identity.v1.rules_pb2_grpc import add_RulesServiceServicer_to_server
from c360.parked.v1.parked_pb2_grpc import add_ParkedServiceServicer_to_server

from services.identity.activating import Activator
from services.identity.api.decisions import SERVICE_NAME as DECISIONS
from services.identity.api.decisions import DecisionApi
from services.identity.api.erasure import ErasureApi
from services.identity.api.explanation import ExplanationApi
from services.identity.api.identity import IdentityApi
from services.identity.api.matching import MatchingApi
from services.identity.api.rules import SERVICE_NAME as RULES
from services.identity.api.rules import RulesApi
from services.identity.app import Unifier
from services.identity.deciding import Decider
from services.identity.epochs import Epochs
from services.identity.erasing import Eraser
from services.identity.explaining import Explanations
from services.identity.follow import follow_ingest, replay
from services.identity.graph_writer import GraphWriter
from services.identity.holding import Holds
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.matcher import Matcher, make_matcher
from services.identity.model_activating import ModelActivator, settling
from services.identity.model_simulating import ModelSimulation
from services.identity.reviewing import Expiry
from services.identity.simulating import Simulation
from services.identity.tables.outbox import Outbox
from shared import bus
from shared.bus.destructions import heed
from shared.config import Settings
from shared.events.wire import CUSTOMER_STREAM
from shared.ids import id_maker
from shared.instants import now_us
from shared.log import LogReader, LogWriter
from shared.parked import ParkedTable
from shared.positions import Progress
from shared.process import Stop, keep_going, run_service, until_stopped
from shared.rpc import RpcServer
from shared.rpc.log import serve_log
from shared.rpc.parked import SERVICE_NAME as PARKED
from shared.rpc.parked import ParkedApi
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault

ProposalDays = Annotated[int, msgspec.Meta(ge=1, le=3650)]  # how long a merge waits to be decided


class IdentitySettings(Settings, frozen=True, kw_only=True):
    grpc_address: str = "127.0.0.1:50052"
    metrics_address: str = "127.0.0.1:9102"
    proposal_days: ProposalDays = 90


async def serve(settings: IdentitySettings, stop: Stop) -> None:
    server = RpcServer(settings.grpc_address)
    pool = await open_pool(settings.database_url, "identity")
    keyring = FileKeyring(Path(settings.keyring_file))
    vault_pool = await open_pool(settings.vault_url, "vault")
    vault = Vault(vault_pool, keyring)
    client = await bus.connect(settings.nats_url, "identity")
    new_id, progress, outbox, parked = id_maker(now_us), Progress(), Outbox(pool), ParkedTable(pool, now_us)
    writer = LogWriter(pool, [IDENTITY_PARTITION], now_us)
    ledger = Ledger(pool, writer, outbox, parked, progress, now_us, settings.poison_run_limit)
    unifier = Unifier(pool, ledger, vault, now_us, new_id)
    epochs = Epochs(client, ledger, vault, now_us)
    matcher, model_activator = _matching(server, pool, ledger, outbox, unifier.graph, vault)

    def forget() -> None:
        unifier.forget()
        matcher.forget()

    eraser = Eraser(pool, client, ledger, vault, epochs, keyring, unifier.graph, forget, now_us, new_id)
    holds = Holds(pool, ledger, now_us, new_id, eraser.tell)
    simulation = Simulation(pool, new_id)
    activator = Activator(pool, ledger, unifier.graph, simulation, now_us, new_id)
    relay = bus.Relay(client, CUSTOMER_STREAM, outbox.read)
    ledger.tell_of_units(relay.tell)
    erasure_api = ErasureApi(pool, eraser, holds, keyring, progress)
    api = IdentityApi(pool, LogReader(pool), vault.lookup_key, progress, erasure_api)
    server.add(add_IdentityServiceServicer_to_server, api, "c360.identity.v1.IdentityService")
    decider = Decider(pool, ledger, unifier.graph, now_us, new_id)
    decision_api = DecisionApi(pool, decider, vault.lookup_key, progress)
    server.add(add_DecisionServiceServicer_to_server, decision_api, DECISIONS)
    expiry = Expiry(pool, ledger, settings.proposal_days, now_us, new_id)
    explanation_api = ExplanationApi(Explanations(pool, ledger, unifier.graph, now_us), vault.lookup_key, progress)
    server.add(add_ExplanationServiceServicer_to_server, explanation_api, "c360.identity.v1.ExplanationService")
    rules_api = RulesApi(pool, ledger, activator, simulation, vault.lookup_key, progress)
    server.add(add_RulesServiceServicer_to_server, rules_api, RULES)
    parked_api = ParkedApi("identity", parked, lambda one: replay(one, unifier, vault))
    server.add(add_ParkedServiceServicer_to_server, parked_api, PARKED)
    checkpoints = serve_log(server, pool, "identity", keyring, now_us)
    await server.start()
    await server.set_ready(True)
    try:
        await until_stopped(
            stop,
            server.stop,
            keep_going("follow ingest", lambda: follow_ingest(client, unifier, vault, ledger.run), server.halt),
            keep_going("publish", relay.run, server.halt),
            keep_going("match", lambda: _match(matcher, model_activator), server.halt),
            keep_going("sign checkpoints", checkpoints.run, server.halt),
            keep_going("follow the rules", activator.run, server.halt),
            keep_going("erase", eraser.run, server.halt),
            keep_going("expire proposals", expiry.run, server.halt),
            keep_going("destroy epoch keys", epochs.run, server.halt),
            heed(client, vault),
        )
    finally:
        await client.close()
        await asyncio.gather(pool.close(), vault_pool.close())


def _matching(
    server: RpcServer, pool: Any, ledger: Ledger, outbox: Outbox, graph: GraphWriter, vault: Vault
) -> tuple[Matcher, ModelActivator]:
    new_id = id_maker(now_us)
    matcher = make_matcher(pool, ledger, outbox, graph, vault, settling(ledger, now_us, new_id))
    simulation = ModelSimulation(pool, ledger, vault, new_id)
    activator = ModelActivator(ledger, simulation, now_us, new_id, matcher.tell)
    api = MatchingApi(pool, vault.lookup_key, matcher, graph, activator, simulation)
    server.add(add_MatchingServiceServicer_to_server, api, "c360.identity.v1.MatchingService")
    return matcher, activator


async def _match(matcher: Matcher, activator: ModelActivator) -> None:
    await activator.record_shipped()
    await matcher.run()


if __name__ == "__main__":
    sys.exit(run_service("identity", IdentitySettings, serve))
