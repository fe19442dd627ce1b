"""Makes and wires what the profile service is made of. Opens nothing and starts nothing; tests call it too."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from services.profile.activating import Activator
from services.profile.app import Profiles
from services.profile.batches import Batches
from services.profile.beginnings import Beginnings
from services.profile.belonging import Belongings
from services.profile.cache import Load, LoadingCache
from services.profile.changes import Changes
from services.profile.choosing import Chooser
from services.profile.differences import Differences
from services.profile.domain.decided import KnownDecision
from services.profile.domain.state import Held
from services.profile.explaining import Explaining
from services.profile.exports import Exports
from services.profile.follow import ConsentFollower
from services.profile.hub import Hub
from services.profile.keeping_up import KeepingUp
from services.profile.lapses import Lapses
from services.profile.listed import Listed
from services.profile.memberships import Keeper
from services.profile.new_rules import NewRules
from services.profile.notices import Notices, tell_each
from services.profile.origins import Origins
from services.profile.owners import Owners
from services.profile.past_members import PastMembers
from services.profile.pauses import Pauses
from services.profile.purging import Purger
from services.profile.ready import ReadyAnswers
from services.profile.record import Recorder
from services.profile.sides import Sides
from services.profile.simulating import Simulation
from services.profile.snapshotting import Snapshotter
from services.profile.standings import Standings
from services.profile.steady import Steady
from services.profile.sweep import Sweep
from services.profile.tables.committed import Committed
from services.profile.tables.consents import Consents
from services.profile.tables.history import History
from services.profile.tables.identifiers import Identifiers
from services.profile.tables.memberships import Memberships
from services.profile.tables.near import Near
from services.profile.tables.ordered import Ordered
from services.profile.tables.rulebook import Rulebook
from services.profile.tables.snapshots import SNAPSHOT_EVERY, Snapshots
from services.profile.tables.states import States, memory_bytes
from services.profile.timelines import Timelines
from services.profile.visibility import Visibility
from services.profile.walking import Walks
from services.profile.watches import Watches
from shared.bus.enforcement import Lease
from shared.config import Settings
from shared.events.consent import PurposeDefined
from shared.ids import id_maker, to_text
from shared.instants import now_us
from shared.log import LogReader, LogWriter, Record
from shared.log.standby import StandbyReads, committed
from shared.parked import ParkedTable
from shared.poison import Run
from shared.positions import Progress
from shared.vault import Vault

CACHED_STATES_BYTES = 128 * 1024 * 1024
CACHED_IDENTIFIERS = 100_000  # their decisions


class ProfileSettings(Settings, frozen=True, kw_only=True):
    grpc_address: str = "127.0.0.1:50053"
    http_address: str = "127.0.0.1:8081"
    access_tokens_file: str = ""  # empty: there is no HTTP door
    read_database_url: str = ""  # of a standby that the past, exports and changes may be read from; empty: there is none
    metrics_address: str = "127.0.0.1:9103"


@dataclass(frozen=True, slots=True)
class Parts:
    """The one writer of the customer log and all who read through its views; whoever has to hear of another is told already."""

    progress: Progress
    hub: Hub
    held: LoadingCache[bytes, Held]
    states: States
    rulebook: Rulebook
    activator: Activator
    simulation: Simulation
    explaining: Explaining
    parked: ParkedTable
    recorder: Recorder
    snapshotter: Snapshotter
    on_replaced: Callable[[], None]  # another edition of the views is served
    notices: Sequence[Notices]
    lease: Lease
    consent: ConsentFollower
    keeping_up: KeepingUp
    profiles: Profiles
    ready: ReadyAnswers
    batches: Batches
    watches: Watches
    timelines: Timelines
    differences: Differences
    walks: Walks
    exports: Exports
    origins: Origins
    changes: Changes
    lapses: Lapses
    purger: Purger
    keeper: Keeper
    memberships: Memberships
    listed: Listed
    belongings: Belongings
    past_members: PastMembers

    def on_destroyed(self, owners: Collection[bytes]) -> None:
        """Their keys are gone."""
        self.held.drop(owners)
        self.hub.changed(owners)


def _history(reader: LogReader, vault: Vault, pool: Any, partitions: int, every: int) -> History:
    return History(reader, vault, Snapshots(pool, partitions, every), Ordered(pool, partitions, every), partitions)


def _cached(states: States) -> LoadingCache[bytes, Held]:
    return LoadingCache(states.load, CACHED_STATES_BYTES, memory_bytes, "states")


def _past(history: History, held: LoadingCache[bytes, Held], rulebook: Rulebook) -> History:
    """States of now are folded for the rules in force."""
    near = Near()
    held.watch(near.changed)
    return history.beside(lambda streams, keeping: held.at_hand(streams) if keeping == rulebook.rules.keeping else {}, near)


def _applied(consents: Consents, progress: Progress) -> Load[bytes, list[KnownDecision]]:
    """What is committed and not applied yet isn't known: else an answer would go by more than its record says."""

    async def decisions(hashes: Collection[bytes]) -> dict[bytes, list[KnownDecision]]:
        return await consents.known(hashes, progress.applied("consent"))

    return decisions


def _ready(profiles: Profiles, progress: Progress, *caches: LoadingCache[Any, Any]) -> tuple[ReadyAnswers, Steady]:
    """What is made from these caches, and is told of what changes in them."""
    ready = ReadyAnswers(profiles.still_holds, now_us)
    for cache in caches:
        cache.watch(ready.drop)
    return ready, Steady(lambda: ready.changes, ready.overtook, lambda: progress.applied("consent"))


def _forgetting(held: LoadingCache[bytes, Held], owners: Owners, hub: Hub, look: Callable[[], None]) -> Callable[[], None]:
    def on_replaced() -> None:
        held.clear()
        owners.clear()
        hub.everything_changed()
        look()

    return on_replaced


def _telling(hub: Hub, notices: Sequence[Notices]) -> Callable[[Sequence[Record]], None]:
    def on_changed(records: Sequence[Record]) -> None:
        hub.changed({record.entry.stream for record in records})
        tell_each(notices, records)

    return on_changed


def _reader_of(primary: Any, standby: Any, known: Callable[[], Mapping[int, int]]) -> LogReader:
    """Of a standby, where there is one, as far as it has what is known here: next positions by partition."""
    return LogReader(StandbyReads(primary, standby, known) if standby else primary)


def compose(
    settings: ProfileSettings, pool: Any, vault: Vault, client: Client, snapshot_every: int = SNAPSHOT_EVERY, standby: Any = None
) -> Parts:
    """`pool`'s search path names profile's schema; so does `standby`'s, of which the past is read, and what goes through the log."""
    partitions, progress, hub, reader = settings.partitions, Progress(), Hub(), LogReader(pool)
    asked = _reader_of(pool, standby, lambda: committed(writer.heads) or keeping_up.next_positions)
    identifiers, consents, members = Identifiers(pool, partitions), Consents(pool, partitions), Memberships(pool)
    history = _history(reader, vault, pool, partitions, snapshot_every)
    rulebook, run, snapshotter = Rulebook(reader, partitions), Run(settings.poison_run_limit), Snapshotter(history, vault)
    states = States(pool, vault, history, rulebook, partitions)
    held, decisions = _cached(states), LoadingCache(_applied(consents, progress), CACHED_IDENTIFIERS, name="decisions")
    owners, purposes, past = (
        Owners(identifiers, CACHED_IDENTIFIERS),
        dict[str, PurposeDefined](),
        _past(_history(asked, vault, pool, partitions, snapshot_every), held, rulebook),
    )
    writer, parked = LogWriter(pool, range(partitions), now_us), ParkedTable(pool, now_us)
    notices = [Notices(client, reader, partition) for partition in writer.partitions]
    on_replaced = _forgetting(held, owners, hub, lambda: activator.look())  # noqa: PLW0108 (it is made below)
    on_changed = _telling(hub, notices)
    lease = Lease(client, to_text(id_maker(now_us)()), lambda: progress.applied("consent"), time.monotonic)
    chooser = Chooser(rulebook, decisions, vault.lookup_key, now_us)
    profiles = Profiles(past, chooser, owners, held, decisions, purposes, vault, lease.holds, writer.settle, now_us, partitions)
    ready, steady = _ready(profiles, progress, held, decisions, owners.cache)
    consent = ConsentFollower(consents, purposes, decisions, progress, lease, hub, identifiers)
    followed = Committed(pool, partitions), consents, rulebook
    keeping_up = KeepingUp(*followed, held, owners, decisions, progress, consent.learn, lease.renew, time.monotonic)
    visibility, new_rules = Visibility(profiles, states, steady), NewRules(states, history, chooser, rulebook)
    told = (on_changed, on_replaced, snapshotter)
    recorder = Recorder(writer, states, rulebook, identifiers, owners, parked, held, decisions, vault, progress, run, *told)
    batches, scans = (Batches(profiles, owners, cache, vault.lookup_key) for cache in (held, LoadingCache(states.load, 0)))
    tried = (batches, chooser, states, history, vault.lookup_key, now_us, steady)
    simulation, counting = (Simulation(*tried) for _ in range(2))  # two lines
    standings, beginnings = Standings(vault, chooser, rulebook, partitions, now_us), Beginnings(vault, chooser, partitions)
    activator = Activator(recorder, rulebook, states, counting, hub.everything_changed, now_us, id_maker(now_us))
    return Parts(
        progress=progress,
        hub=hub,
        held=held,
        states=states,
        rulebook=rulebook,
        activator=activator,
        simulation=simulation,
        explaining=Explaining(profiles, chooser, reader, vault, partitions),
        parked=parked,
        recorder=recorder,
        snapshotter=snapshotter,
        on_replaced=on_replaced,
        notices=notices,
        lease=lease,
        consent=consent,
        keeping_up=keeping_up,
        profiles=profiles,
        ready=ready,
        batches=batches,
        watches=Watches(profiles, batches, scans, consents, identifiers, members, reader, progress, hub, ready, now_us, partitions),
        timelines=Timelines(profiles, asked, vault, partitions),
        differences=Differences(profiles, chooser, past, Sides(chooser, decisions), vault),
        walks=Walks(profiles, chooser, past, Sides(chooser, decisions), asked, vault, partitions, Pauses(held.watch)),
        exports=Exports(visibility, asked, vault, writer.settle, partitions),
        origins=Origins(reader, partitions),
        changes=Changes(visibility, lambda: Sweep(history, chooser), new_rules, asked, vault, writer.settle, partitions),
        lapses=Lapses(visibility, states, history, rulebook, Sides(chooser, decisions), reader, writer.settle, partitions),
        purger=Purger(pool, reader, held, vault, progress, partitions),
        keeper=Keeper(pool, standings, beginnings, rulebook, progress, hub, partitions, now_us, lambda: activator.is_folding),
        memberships=members,
        listed=Listed(batches, chooser, rulebook, states, held, steady),
        belongings=Belongings(profiles, now_us),
        past_members=PastMembers(profiles, batches, chooser, states, now_us, steady),
    )
