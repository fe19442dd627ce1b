"""Composition of the consent service."""

import asyncio
import sys
import time
from pathlib import Path

from c360.consent.v1.age_pb2_grpc import add_AgeServiceServicer_to_server
from c360.consent.v1.asking_pb2_grpc import add_AskingServiceServicer_to_server
from c360.consent.v1.confirmation_pb2_grpc import add_ConfirmationServiceServicer_to_server
from c360.consent.v1.consent_pb2_grpc import add_ConsentServiceServicer_to_server
from c360.consent.v1.evidence_pb2_grpc import add_EvidenceServiceServicer_to_server
from c360.consent.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from c360.consent.v1.restriction_pb2_grpc import add_RestrictionServiceServicer_to_server
from c360.consent.v1.rights_pb2_grpc import add_RightsServiceServicer_to_server
from c360.consent.v1.signals_pb2_grpc import add_SignalServiceServicer_to_server
from c360.consent.v1.unsubscribe_pb2_grpc import add_UnsubscribeServiceServicer_to_server

from services.consent.ages import Ages
from services.consent.answering import RightsDesk
from services.consent.api.ages import AgeApi
from services.consent.api.askable import AskingApi
from services.consent.api.confirmations import ConfirmationApi
from services.consent.api.decisions import ConsentApi
from services.consent.api.definitions import RegistryApi
from services.consent.api.evidence import EvidenceApi
from services.consent.api.restrictions import RestrictionApi
from services.consent.api.rights import RightsApi
from services.consent.api.signals import SignalApi
from services.consent.api.unsubscribing import UnsubscribeApi
from services.consent.app import Consent
from services.consent.askable import Askables
from services.consent.checking import Checks
from services.consent.conflicts import Conflicts
from services.consent.domain.unsubscribing import LinkKey
from services.consent.evidence import Receipts
from services.consent.explaining import Explanations
from services.consent.follow import follow_customers, wait_caught_up
from services.consent.guardians import Guardians
from services.consent.hearing import Hearing
from services.consent.http.calling_back import CallingBack
from services.consent.http.door import ConsentDoor, PageProtocol, make_app
from services.consent.http.opendsr import OpenDsr
from services.consent.http.opendsr_file import OpenDsrFile
from services.consent.http.replies import Replies
from services.consent.http.signatures import SecretFile
from services.consent.looking_up import LookingUp
from services.consent.once import Once
from services.consent.persons import Persons
from services.consent.purging import Purger
from services.consent.receiving import Receiver
from services.consent.registry import Registry
from services.consent.restricted import Restricteds
from services.consent.restrictions import Restrictions
from services.consent.rights import Rights
from services.consent.standing_by import ANSWERED, stand_by
from services.consent.unsubscribing import Unsubscribing
from services.consent.views import Decisions, Definitions
from services.consent.writing import CONSENT_PARTITION, ConsentLog
from shared import bus
from shared.bus.callers import CallersPublisher, follow_callers
from shared.bus.enforcement import Roll
from shared.bus.purging import answer
from shared.bus.settling import answer_settling
from shared.config import Settings
from shared.events.wire import CONSENT_STREAM
from shared.evidence_key import EvidenceKey
from shared.http.server import HttpServer
from shared.http.tls import tls_of
from shared.ids import id_maker
from shared.instants import now_us
from shared.log import LogWriter
from shared.log.ownership import open_ownership
from shared.positions import Progress
from shared.process import Stop, keep_going, run_service, until_stopped
from shared.rpc import RpcServer
from shared.rpc.log import serve_log
from shared.rpc.security import secure
from shared.store.pool import open_pool
from shared.vault import FileKeyring


class ConsentSettings(Settings, frozen=True, kw_only=True):
    vault_url: str = ""  # consent keeps no personal data: it needs the keyring's lookup key and signature alone
    grpc_address: str = "127.0.0.1:50054"
    http_address: str = "127.0.0.1:8082"
    sms_secrets_file: str = ""  # what gateways sign replies with; empty: none is taken
    opendsr_file: str = ""  # who hands over rights requests as OpenDSR has it; empty: nobody
    public_url: str = ""  # where the HTTP door is reached from outside, as https://mail.example.com; empty: by its address
    metrics_address: str = "127.0.0.1:9104"


async def serve(settings: ConsentSettings, stop: Stop) -> None:
    server = RpcServer(settings.grpc_address, security=secure(settings, now_us))
    pool = await open_pool(settings.database_url, "consent")
    client = await bus.connect(settings.nats_url, "consent", settings.nats_replicas, settings.nats_ca)
    ownership = await open_ownership(settings.database_url, "consent", settings.replica_name)
    progress, writer = Progress(), LogWriter(pool, [CONSENT_PARTITION], now_us)
    roll = Roll(client, time.monotonic, writer.owns)
    log, definitions, new_id = ConsentLog(pool, writer, roll, progress, now_us), Definitions(pool), id_maker(now_us)
    decisions, persons = Decisions(pool), Persons(pool, now_us)
    keyring, looking_up = FileKeyring(Path(settings.keyring_file)), LookingUp(pool)
    guardians = Guardians(looking_up, decisions)
    consent = Consent(persons, guardians, decisions, definitions, log, new_id, keyring.lookup_key)
    registry, rights = Registry(definitions, log, new_id), Rights(pool)
    publisher = CallersPublisher(client, registry.callers)
    registry.on_callers = publisher.tell
    checks = Checks(persons, looking_up, log)
    relay = bus.Relay(client, CONSENT_STREAM, log.read_outbox, max_age_s=None)
    log.on_committed, log.may_claim = relay.tell, ownership.confirm
    api = ConsentApi(consent, checks, progress, keyring.lookup_key)
    server.add(add_ConsentServiceServicer_to_server, api, "c360.consent.v1.ConsentService")
    confirmations = ConfirmationApi(consent, keyring.lookup_key)
    server.add(add_ConfirmationServiceServicer_to_server, confirmations, "c360.consent.v1.ConfirmationService")
    server.add(add_RegistryServiceServicer_to_server, RegistryApi(registry), "c360.consent.v1.RegistryService")
    _tell(server, checks, persons, decisions, definitions, rights, progress, keyring.lookup_key)
    evidence_key = EvidenceKey(keyring.lookup_key)
    receiver = Receiver(pool, definitions, log, evidence_key, new_id)
    hearing = Hearing(pool, receiver, registry.ready, evidence_key.data_key, now_us)
    signals = SignalApi(receiver, keyring.lookup_key)
    server.add(add_SignalServiceServicer_to_server, signals, "c360.consent.v1.SignalService")
    _serve_overlays(server, Once(decisions, log, new_id), guardians, keyring.lookup_key)
    desk = RightsDesk(rights, decisions, persons, log, new_id, now_us)
    server.add(add_RightsServiceServicer_to_server, RightsApi(desk, keyring.lookup_key), "c360.consent.v1.RightsService")
    dsr_file = OpenDsrFile(Path(settings.opendsr_file) if settings.opendsr_file else None)
    opendsr = OpenDsr(desk, dsr_file, keyring.lookup_key)
    door = _open_http(settings, server, consent, definitions, receiver, opendsr, keyring.lookup_key)
    checkpoints = serve_log(server, pool, "consent", keyring, now_us)

    async def close() -> None:  # while the relay still runs: a decision under way is answered when it is enforced
        await asyncio.gather(server.stop(), door.stop())

    async def become_ready() -> None:
        await registry.define_ready()
        await wait_caught_up(client, progress)
        await server.set_ready(True)

    await server.start_standing_by(lambda: stand_by(ownership, server, client, pool, progress, log), ANSWERED)
    try:
        await until_stopped(
            stop,
            close,
            client.until_refused(),
            door.run(),
            keep_going("become ready", become_ready),
            keep_going("keep authority", roll.keep_authority),
            keep_going("publish", relay.run, server.halt),
            keep_going("follow customers", lambda: follow_customers(client, persons, hearing, progress), server.halt),
            keep_going("count rights requests", desk.keep_counted),
            keep_going("tell controllers", CallingBack(rights, dsr_file, now_us).run),
            keep_going("count reviews that are due", registry.keep_counted),
            keep_going("publish the callers", publisher.run),
            keep_going("follow the callers", lambda: follow_callers(client, server.callers), server.halt),
            keep_going("sign checkpoints", checkpoints.run, server.halt),
            keep_going("answer about erasures", lambda: answer(client, "consent", Purger(persons, progress).report)),
            keep_going("promise what is known", lambda: answer_settling(client, "consent", checks.settle, lambda: writer.heads)),
            ownership.keep(),
        )
    finally:
        await ownership.give_up()
        await client.close()
        await pool.close()


def _tell(
    server: RpcServer,
    checks: Checks,
    persons: Persons,
    decisions: Decisions,
    definitions: Definitions,
    rights: Rights,
    progress: Progress,
    lookup_key: bytes,
) -> None:
    """What is told of decisions: why a verdict is what it is, whose processing is restricted, and whom one may ask again."""
    explanations, conflicts = Explanations(checks, persons, decisions), Conflicts(checks, decisions)
    receipts, restricted = Receipts(checks, decisions, definitions), Restricteds(checks, decisions, persons, rights)
    evidence = EvidenceApi(receipts, explanations, conflicts, restricted, progress, lookup_key)
    server.add(add_EvidenceServiceServicer_to_server, evidence, "c360.consent.v1.EvidenceService")
    asking = AskingApi(Askables(checks, persons, decisions), progress, lookup_key)
    server.add(add_AskingServiceServicer_to_server, asking, "c360.consent.v1.AskingService")


def _serve_overlays(server: RpcServer, once: Once, guardians: Guardians, lookup_key: bytes) -> None:
    restrictions, ages = RestrictionApi(Restrictions(once), lookup_key), AgeApi(Ages(once, guardians), lookup_key)
    server.add(add_RestrictionServiceServicer_to_server, restrictions, "c360.consent.v1.RestrictionService")
    server.add(add_AgeServiceServicer_to_server, ages, "c360.consent.v1.AgeService")


def _open_http(
    settings: ConsentSettings,
    server: RpcServer,
    consent: Consent,
    definitions: Definitions,
    receiver: Receiver,
    opendsr: OpenDsr,
    lookup_key: bytes,
) -> HttpServer:
    scheme = "https" if settings.tls_certificate else "http"
    public_url = settings.public_url.rstrip("/") or f"{scheme}://{settings.http_address}"
    unsubscribing = Unsubscribing(consent, definitions, LinkKey(lookup_key), public_url, now_us)
    api = UnsubscribeApi(unsubscribing, lookup_key)
    server.add(add_UnsubscribeServiceServicer_to_server, api, "c360.consent.v1.UnsubscribeService")
    replies = Replies(
        receiver, SecretFile(Path(settings.sms_secrets_file) if settings.sms_secrets_file else None), lookup_key, now_us
    )
    app = make_app(ConsentDoor(unsubscribing, replies, opendsr), id_maker(now_us))
    return HttpServer(settings.http_address, app, PageProtocol, tls_of(settings))


if __name__ == "__main__":
    sys.exit(run_service("consent", ConsentSettings, serve))
