"""Erasing a customer, step by step. Each step is an event in identity's log, done before it is recorded and harmless when
done twice; whatever dies in between, `run` goes on from what is recorded.

requested -> (queued ->) begun -> keys_destroyed -> purged -> completed
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import nats.errors
from nats.aio.client import Client

from services.identity.domain.certificate import certify
from services.identity.domain.erasure import EraseCustomer, Erasure, evolve, requested
from services.identity.domain.sighting import Suppression
from services.identity.epochs import Epochs
from services.identity.graph_writer import GraphWriter
from services.identity.holding import holds_on
from services.identity.ledger import IDENTITY_PARTITION, Also, Ledger
from services.identity.restored import keys_brought_back, lost_erasures, part, save_parting, taken
from services.identity.reviewing import others, withdrawn
from services.identity.sweep import Sweep
from services.identity.tables import erasures, record_tables, views
from services.identity.tables.leftovers import leftovers
from shared.bus.connection import BROKER_DOWN, RETRY_S
from shared.bus.destructions import announce
from shared.errors import Fenced, WrongState
from shared.events import customer as customer_events
from shared.events import erasure as events
from shared.events.catalogue import Entry, EventType, Public, make_entry
from shared.ids import NewId, derived_id, to_text
from shared.instants import Clock
from shared.log import Record
from shared.log.writer import Versioned
from shared.poison import Halted
from shared.request_ids import reused
from shared.store.pool import DOWN as STORE_DOWN
from shared.telemetry import ERASURES_COMPLETED, ERASURES_STUCK, KEYS_DESTROYED, logger
from shared.vault import Keyring, Vault
from shared.waiting import wait_for_news

LOOK_S = 30.0  # how often to look for what is unfinished without being told
FIRST_VERSION = 1
UNANSWERED = tuple(kind for kind in BROKER_DOWN if issubclass(kind, nats.errors.Error))  # the others may be the database's

log = logger("erasing")


class Eraser:
    """`erase` takes a request and `wait` waits for its certificate; `run` does the work.

    `forget` is called when identifiers stop to lead anywhere.
    """

    def __init__(
        self,
        pool: Any,
        client: Client,
        ledger: Ledger,
        vault: Vault,
        epochs: Epochs,
        keyring: Keyring,
        graph: GraphWriter,
        forget: Callable[[], None],
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._pool = pool
        self._client = client
        self._ledger = ledger
        self._vault = vault
        self._keyring = keyring
        self._graph = graph
        self._sweep = Sweep(pool, client, ledger, vault, epochs)
        self._forget = forget
        self._clock = clock
        self._new_id = new_id
        self._news = asyncio.Event()
        self._progressed = asyncio.Condition()

    async def erase(self, command: EraseCustomer) -> Erasure:
        """Records the request; what was requested before under the same id is answered as it stands.

        It follows the customer that was named: until it begins, a split may leave others of its cluster somebody else's.

        Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED, ERASURE_UNDER_WAY), Conflict (REQUEST_ID_REUSED).
        """
        async with self._ledger.turn():
            if (earlier := await erasures.of_request(self._pool, command.request_id)) is not None:
                if not earlier.says_the_same(command):
                    raise reused()
                return earlier
            members = await views.present_members(self._pool, command.customer) if command.customer else []
            if (other := await erasures.waiting_for(self._pool, members)) is not None:
                raise WrongState(
                    "this customer is being erased under another request",
                    reason="ERASURE_UNDER_WAY",
                    erasure_id=to_text(other.erasure_id),
                )
            event = events.ErasureRequested(
                request_id=command.request_id,
                customer=command.customer,
                policy=command.policy,
                reason=command.reason,
                requested_by=command.requested_by,
                identifier=command.identifier,
            )
            erasure = await self._record_request(event)
        self._news.set()
        return erasure

    async def is_held(self, value_hash: bytes) -> bool:
        """Whether anything is known of an identifier that names nobody here. Raises one of BROKER_DOWN."""
        return await self._sweep.waits_in_quarantine(value_hash)

    def tell(self) -> None:
        """Something may be possible now that wasn't."""
        self._news.set()

    async def wait(self, erasure: Erasure, timeout_s: float) -> Erasure:
        """Until it is completed or queued, or time is up; then as it stands."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._progressed:
                while erasure.stage not in ("completed", "queued"):
                    [erasure] = await erasures.get(self._pool, [erasure.erasure_id])
                    if erasure.stage not in ("completed", "queued"):
                        await self._progressed.wait()
        return erasure

    async def run(self) -> None:
        """Never returns; raises when a server is down, to be started over from what is recorded."""
        await self._mend_restored()
        while True:
            self._news.clear()
            answered = [await self._try(erasure) for erasure in await erasures.unfinished(self._pool)]
            while await self._graph.settle_left():
                pass
            await wait_for_news(self._news, LOOK_S if all(answered) else RETRY_S)

    async def _try(self, erasure: Erasure) -> bool:
        """Whether everybody answered. What keeps one erasure where it is recorded keeps neither the others nor the service."""
        try:
            await self._finish(erasure)
        except UNANSWERED as error:
            log.warning("an erasure waits for an answer", erasure=to_text(erasure.erasure_id), error=type(error).__name__)
            return False
        except (*STORE_DOWN, Fenced, Halted):
            raise
        except Exception as error:
            ERASURES_STUCK.inc()
            log.error("an erasure can't go on", erasure=to_text(erasure.erasure_id), exc_info=error)
        return True

    async def _mend_restored(self) -> None:
        """Where the database or the vault was restored from a backup, what was erased since is erased again."""
        async for back in keys_brought_back(self._pool, self._vault):
            await self._destroy(back)
            log.error("keys of erased customers were back; destroyed again", keys=len(back))
        async for command in lost_erasures(self._pool, self._vault):
            with contextlib.suppress(WrongState):  # another one that is under way erases it
                await self.erase(command)
                log.error("a customer whose key is destroyed was back; erasing it again", customer=to_text(command.customer))

    async def _finish(self, erasure: Erasure) -> None:
        while True:
            stage = erasure.stage
            match stage:
                case "requested" | "queued":
                    erasure = await self._begin(erasure)
                case "begun":
                    erasure = await self._destroy_keys(erasure)
                case "keys_destroyed":
                    erasure = await self._purge(erasure)
                case "purged":
                    erasure = await self._certify(erasure)
            async with self._progressed:
                self._progressed.notify_all()
            if erasure.stage in ("completed", stage):
                return

    async def _begin(self, erasure: Erasure) -> Erasure:
        """Tells the customer apart: in one transaction its identifiers are suppressed and its streams closed."""
        async with self._ledger.turn():
            [erasure] = await erasures.get(self._pool, [erasure.erasure_id])
            cluster = await self._members(erasure)
            members, again = await taken(self._vault, erasure.customer, cluster)  # again: when no hold kept them
            if await erasures.erased_by(self._pool, erasure.customer) is not None:
                # It was queued, then merged with another customer that was erased: what is left is to look again.
                return await self._record(erasure, events.BEGUN, self._begun(members))
            hashes = await erasures.identifiers_of(self._pool, members)
            beside = await leftovers(self._pool, members, list(chain.from_iterable(hashes.values())))
            left, _ = await taken(self._vault, erasure.customer, beside)
            members += left
            if not again and (holds := await holds_on(self._pool, members)):
                return erasure if erasure.stage == "queued" else await self._queue(erasure, members[0], holds)
            suppression = Suppression(erasure.erasure_id, erasure.policy, now := self._clock())
            hashes = await erasures.erased_identifiers_of(self._pool, members)
            linked = list(chain.from_iterable(hashes.values()))
            unlinked = sorted({erasure.identifier} - {b"", *linked})
            proposals = await views.open_proposals_about(self._pool, members)
            parted = await part(self._pool, cluster, members, now, self._new_id)
            told = parted.told + withdrawn(proposals, members, now, self._new_id)
            told += [self._closing(erasure, member, hashes[member], now) for member in members]

            async def write_views(connection: Any) -> None:
                await erasures.erase(connection, members, linked, suppression, unlinked)
                await save_parting(connection, parted)

            event = self._begun(
                members,
                units=1 if members else 0,
                identifiers=len(linked) + len(unlinked),
                records=await record_tables.remaining(self._pool, members),
                leftovers=tuple(left),
                proposed=others(proposals, members),
            )
            try:
                return await self._record(erasure, events.BEGUN, event, told, write_views, now)
            finally:
                self._forget()

    async def _members(self, erasure: Erasure) -> list[bytes]:
        """Who was named by an identifier alone may have got a customer since."""
        if erasure.customer:
            return await views.members(self._pool, erasure.customer)
        found = await views.resolve(self._pool, erasure.identifier)
        return await views.members(self._pool, found.customer) if found else []

    def _begun(self, members: Sequence[bytes], units: int = 0, identifiers: int = 0, **found: Any) -> events.ErasureBegun:
        unit = self._ledger.next_unit + units - 1
        return events.ErasureBegun(streams=tuple(members), identifiers=identifiers, unit=unit, **found)

    def _closing(self, erasure: Erasure, member: bytes, hashes: Sequence[bytes], at: int) -> Entry:
        public = customer_events.CustomerErased(
            erasure_id=erasure.erasure_id, policy=erasure.policy, identifier_hashes=tuple(sorted(hashes))
        )
        return self._entry(customer_events.ERASED, member, at, public)

    async def _queue(self, erasure: Erasure, member: bytes, holds: tuple[bytes, ...]) -> Erasure:
        """The customer that was named, or else `member`, is told, which restricts all that it is merged with, for as long as it is."""
        public = customer_events.CustomerRestricted(erasure_id=erasure.erasure_id)
        restricting = [self._entry(customer_events.RESTRICTED, erasure.customer or member, self._clock(), public)]
        return await self._record(erasure, events.QUEUED, events.ErasureQueued(holds=holds), restricting)

    async def _destroy_keys(self, erasure: Erasure) -> Erasure:
        await self._destroy(erasure.streams)
        return await self._step(erasure, events.KEYS_DESTROYED, events.KeysDestroyed(keys=len(erasure.streams)))

    async def _destroy(self, streams: Sequence[bytes]) -> None:
        KEYS_DESTROYED.labels("customer").inc(await self._vault.destroy(streams, self._clock()))
        await announce(self._client, streams)

    async def _purge(self, erasure: Erasure) -> Erasure:
        return await self._step(erasure, events.STORES_PURGED, await self._sweep.purge(erasure))

    async def _certify(self, erasure: Erasure) -> Erasure:
        certificate = certify(erasure, self._clock(), self._keyring)
        completed = await self._step(erasure, events.COMPLETED, events.ErasureCompleted(certificate=certificate))
        ERASURES_COMPLETED.inc()
        log.info("erased a customer", erasure=to_text(erasure.erasure_id), streams=len(erasure.streams))
        return completed

    def _entry(self, kind: EventType, stream: bytes, at: int, public: Public) -> Entry:
        return make_entry(kind, stream, self._new_id(), at, public)

    async def _step(self, erasure: Erasure, kind: EventType, event: Public) -> Erasure:
        async with self._ledger.turn():
            [current] = await erasures.get(self._pool, [erasure.erasure_id])
            return await self._record(current, kind, event)

    async def _record_request(self, event: events.ErasureRequested) -> Erasure:
        now = self._clock()
        erasure = requested(derived_id(b"erasure", event.request_id.encode()), event, now)
        own = [Versioned(IDENTITY_PARTITION, FIRST_VERSION, self._entry(events.REQUESTED, erasure.erasure_id, now, event))]
        await self._ledger.commit(own, [], write_views=lambda connection, _: erasures.save(connection, erasure))
        return erasure

    async def _record(
        self, erasure: Erasure, kind: EventType, event: Public, entries: Sequence[Entry] = (), also: Also | None = None, at: int = 0
    ) -> Erasure:
        """Commits a step, and with it what customers' streams are told."""
        now = at or self._clock()
        after = evolve(erasure, event, now)
        versions = await erasures.versions_of(self._pool, {entry.stream for entry in entries})
        own = [Versioned(IDENTITY_PARTITION, after.version, self._entry(kind, erasure.erasure_id, now, event))]
        for entry in entries:
            versions[entry.stream] += 1
            own.append(Versioned(IDENTITY_PARTITION, versions[entry.stream], entry))

        async def write_views(connection: Any, records: Sequence[Record]) -> None:
            await erasures.save(connection, after)
            await erasures.move_versions(connection, versions)
            if also is not None:
                await also(connection)

        await self._ledger.commit(own, entries, write_views=write_views)
        return after
