"""Makes and wires what the identity service is made of. Opens nothing and starts nothing; tests and benchmarks call it too."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from nats.aio.client import Client

from services.identity.activating import Activator
from services.identity.app import Unifier
from services.identity.checks import Checks
from services.identity.comparing import Comparing
from services.identity.deciding import Decider
from services.identity.epochs import Epochs
from services.identity.erasing import Eraser
from services.identity.explaining import Explanations
from services.identity.holding import Holds
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.matcher import Matcher
from services.identity.matching.blocking import MAX_BLOCK_RECORDS
from services.identity.model_activating import ModelActivator, settling
from services.identity.records.likeness import Comparer
from services.identity.reviewing import Expiry
from services.identity.seen_again import SeenAgain
from services.identity.settling import Settler
from services.identity.simulating import Simulation
from services.identity.tables.outbox import Outbox
from shared import bus
from shared.config import Settings
from shared.events.wire import CUSTOMER_STREAM
from shared.ids import id_maker
from shared.instants import now_us
from shared.log import LogWriter
from shared.parked import ParkedTable
from shared.positions import Progress
from shared.vault import FileKeyring, Vault

ProposalDays = Annotated[int, msgspec.Meta(ge=1, le=3650)]  # how long a merge waits to be decided


class IdentitySettings(Settings, frozen=True, kw_only=True):
    grpc_address: str = "127.0.0.1:50052"
    metrics_address: str = "127.0.0.1:9102"
    proposal_days: ProposalDays = 90


@dataclass(frozen=True, slots=True)
class Parts:
    """One writer of identity's log and all who write or read through it; whoever has to hear of another is told already."""

    progress: Progress
    ledger: Ledger
    relay: bus.Relay
    unifier: Unifier
    settler: Settler
    decider: Decider
    expiry: Expiry
    explanations: Explanations
    checks: Checks
    simulation: Simulation
    activator: Activator
    matcher: Matcher
    seen_again: SeenAgain
    model_activator: ModelActivator
    epochs: Epochs
    eraser: Eraser
    holds: Holds


def compose(
    settings: IdentitySettings,
    pool: Any,
    vault: Vault,
    keyring: FileKeyring,
    client: Client,
    block_records: int = MAX_BLOCK_RECORDS,
) -> Parts:
    """`pool`'s search path names identity's schema. `block_records` is how many records are compared for one reason at most."""
    new_id, progress, outbox = id_maker(now_us), Progress(), Outbox(pool)
    writer, parked = LogWriter(pool, [IDENTITY_PARTITION], now_us), ParkedTable(pool, now_us)
    ledger = Ledger(pool, writer, outbox, parked, progress, now_us, settings.poison_run_limit)
    relay = bus.Relay(client, CUSTOMER_STREAM, outbox.read, traces_of=outbox.traces_of, knows=outbox.knows)
    ledger.tell_of_units(relay.tell)
    unifier = Unifier(pool, ledger, vault, now_us, new_id)
    graph = unifier.graph
    settler = Settler(pool, ledger, graph, vault, new_id)
    graph.tell_behind = settler.tell
    comparing = Comparing(
        pool, vault, Comparer(ledger.model.model, graph.rules.matching.review_weight, graph.rules.matching.exclusive), block_records
    )
    matcher = Matcher(pool, ledger, outbox, graph, vault, comparing, settling(ledger, now_us, new_id))

    def forget() -> None:
        unifier.forget()
        matcher.forget()

    epochs = Epochs(client, ledger, vault, now_us)
    eraser = Eraser(pool, client, ledger, vault, epochs, keyring, graph, forget, now_us, new_id)
    checks = Checks(settings, block_records)
    return Parts(
        progress=progress,
        ledger=ledger,
        relay=relay,
        unifier=unifier,
        settler=settler,
        decider=Decider(pool, ledger, graph, now_us, new_id),
        expiry=Expiry(pool, ledger, settings.proposal_days, now_us, new_id, settler.tell),
        explanations=Explanations(pool, ledger, graph, comparing, now_us),
        checks=checks,
        simulation=Simulation(pool, new_id),
        activator=Activator(pool, ledger, graph, checks.rules, now_us, new_id),
        matcher=matcher,
        seen_again=SeenAgain(pool, now_us, settler.tell),
        model_activator=ModelActivator(ledger, checks.model, now_us, new_id, matcher.tell),
        epochs=epochs,
        eraser=eraser,
        holds=Holds(pool, ledger, now_us, new_id, eraser.tell),
    )
