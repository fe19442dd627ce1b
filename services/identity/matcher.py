"""Follows what identity hands over: keeps the records of what sources said, and settles the graph where matches change.

It is behind the events, and they never wait for it. The position up to which it has heard is committed with what follows,
and statements are merged in any order, so a crash repeats work without repeating an effect.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from services.identity.comparing import Comparing, Heard, Plan
from services.identity.graph.facts import Evidence
from services.identity.graph_writer import GraphWriter
from services.identity.ledger import Ledger
from services.identity.records.likeness import Comparer
from services.identity.records.proposing import Key
from services.identity.records.said import READ_BACK, read, record_id
from services.identity.tables import record_tables
from services.identity.tables.outbox import Outbox
from services.identity.tables.record_tables import NOTHING_CONSUMED, State
from shared.events import customer as events
from shared.events.catalogue import Entry
from shared.events.wire import decode_unit
from shared.positions import Progress
from shared.privacy import Redacted
from shared.telemetry import MATCHING_BEHIND, logger
from shared.vault import DataKey, EnvelopeBroken, Vault
from shared.waiting import wait_for_news

UNITS_A_STEP = 16
RECORDS_A_STEP = 250  # each meets at most a block's cap in each of its blocks: bounds the memory of a step
BLOCKS_A_STEP = 16  # that returned; each has at most its cap of records, and pairs among them
LOOK_S = 30.0
MOST_UNNOTED = 64  # units in which nothing changes any record: heard again after a crash, and so long kept in the outbox
QUIET_S = 0.25  # after which they are noted however few they are

NOTHING = Plan()

log = logger("matching")


class Matcher:
    """The ledger tells it of units; `tell` it of another model, and have it `forget` when something was erased."""

    def __init__(
        self,
        pool: Any,
        ledger: Ledger,
        outbox: Outbox,
        graph: GraphWriter,
        vault: Vault,
        comparing: Comparing,
        settled: Callable[[int], Awaitable[None]],
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._outbox = outbox
        self._graph = graph
        self._vault = vault
        self._state: State | None = None
        self._settled = settled
        self._erasures = 0  # a plan that was made before one is made anew
        self._none_returned: int | None = None  # since so many of them
        self._noted = NOTHING_CONSUMED  # of what it has heard, that is committed
        self._news = asyncio.Event()
        self._step = asyncio.Lock()  # what is planned by one step isn't changed by another
        self.comparing = comparing
        self.progress = Progress()  # up to where events are in the records and what follows from them
        ledger.tell_of_units(self.tell)

    def tell(self) -> None:
        self._news.set()

    def forget(self) -> None:
        self._erasures += 1
        self.comparing.forget()
        self._news.set()

    async def run(self) -> None:
        """Never returns; raises when a server is down, to be started over from what is committed."""
        async with self._ledger.turn():
            self._state = None
        while True:
            self._news.clear()
            while await self.step():
                pass
            if not await wait_for_news(self._news, QUIET_S if self._is_unnoted() else LOOK_S):
                await self.note()

    async def compared(self) -> int | None:
        """How many records are compared by the model in force; None: all."""
        state = self._state
        if state is None or self._ledger.model.version != self.comparing.comparer.model.version:
            return 0
        return None if state.again is None else await record_tables.count(self._pool, state.again)

    async def step(self) -> bool:
        """Takes what waits, up to a bound; whether there was anything."""
        async with self._step:
            return await self._take_what_waits()

    async def note(self) -> None:
        """Commits what was heard and changed nothing."""
        async with self._step:
            if (state := self._state) is not None and self._is_unnoted():
                async with self._ledger.turn():
                    await self._write(Plan(), state)
                self._noted = state.consumed

    async def read_back(self, entries: Sequence[Entry]) -> int:
        """Hears events of an older log, in any order and as often as one likes; how many records they are about.

        For records that were lost, never made, or didn't open for a while: the outbox has only what was handed over
        lately. All are compared again, since what changed meanwhile was not compared with what nobody could open.
        """
        async with self._step:
            state = (await self._stand())._replace(again=b"")
            heard = await self._hear([(READ_BACK, entry) for entry in entries])
            for part in _parts(heard):
                await self._take(partial(self.comparing.plan, part, ()), state)
            self._news.set()
            return len(heard)

    async def _take_what_waits(self) -> bool:
        state = await self._stand()
        if state.again is not None:
            await self._again(state, state.again)
        elif not self._ledger.model.settled:
            await self._settle()
        caught_up = self._ledger.consumed
        returned = await self._returned()
        units = await self._outbox.read(state.consumed + 1, UNITS_A_STEP)
        if units or returned:
            await self._follow(units, returned)
        elif state.again is None:
            self.progress.advance("ingest", caught_up)
            return False
        return True

    async def _returned(self) -> Collection[Key]:
        """Blocks come back by erasures alone."""
        erasures = self._erasures
        if erasures != self._none_returned:
            if returned := await record_tables.returned(self._pool, BLOCKS_A_STEP):
                return returned
            self._none_returned = erasures
        return ()

    async def _stand(self) -> State:
        """How far it has come. By another model, or from a lower weight on, all is compared again."""
        comparer = self._comparer()
        comparer.floor, comparer.once = self._graph.rules.matching.review_weight, self._graph.rules.matching.exclusive
        if self._state is None and (state := await record_tables.state(self._pool)):
            self._state, self._noted = state, state.consumed
        if self._state is None:
            self._state = State(NOTHING_CONSUMED, comparer.version, comparer.floor)
        if self._state.model != comparer.version or comparer.floor < self._state.floor:
            log.info("comparing all records again", model=comparer.version)
            self._state = State(self._state.consumed, comparer.version, comparer.floor, b"")
        comparer.floor = self._state.floor
        return self._state

    def _comparer(self) -> Comparer:
        """Of the model in force."""
        activation, comparer = self._ledger.model, self.comparing.comparer
        if activation.version != comparer.model.version:
            self.comparing.comparer = comparer = Comparer(activation.model, comparer.floor, comparer.once)
        return comparer

    async def _settle(self) -> None:
        """All is compared by the model that stands as unsettled, unless another one has come."""
        version = self.comparing.comparer.model.version
        async with self._ledger.turn():
            activation = self._ledger.model
            if activation.version == version and not activation.settled:
                await self._settled(await record_tables.count(self._pool))

    async def _again(self, state: State, last: bytes) -> None:
        rows = await record_tables.after(self._pool, last, RECORDS_A_STEP)
        reached = state._replace(again=max(rows) if rows else None)
        await self._take(lambda: self.comparing.again(rows), reached)

    async def _follow(self, units: Sequence[tuple[int, bytes]], returned: Collection[Key]) -> None:
        entries = [(number, entry) for number, unit in units for entry in decode_unit(unit).entries]
        assert self._state is not None
        parts = _parts(await self._hear(entries)) or [{}]
        reached = self._state._replace(consumed=units[-1][0]) if units else self._state
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            await self._take(partial(self.comparing.plan, part, () if number else returned), reached if last else self._state)

    async def _hear(self, numbered: Sequence[tuple[int, Entry]]) -> dict[bytes, Heard]:
        """By record; what several events said of one is merged. Entries come with the number of their unit."""
        told = [(number, entry) for number, entry in numbered if entry.type_id == events.IDENTIFIED.id]
        keys = await self._vault.keys({entry.stream for _, entry in told})
        found: dict[bytes, Heard] = {}
        for number, entry in told:
            public, traits = entry.public(), _traits(entry, keys.get(entry.stream))
            statements = read(traits, Evidence(min(entry.occurred_at, public.received_at), entry.event_id), number)
            if statements:
                key, happened = record_id(public.source, public.resolved_by), min(entry.occurred_at, public.received_at)
                heard = Heard(public.resolved_by, public.source, entry.stream, statements, happened)
                before = found.get(key)
                found[key] = heard.and_before(before) if before is not None and before.customer == entry.stream else heard
        return found

    async def _take(self, make_plan: Callable[[], Awaitable[Plan]], reached: State) -> None:
        """Writes a plan, with what follows from it; one that an erasure came before is made anew."""
        while True:
            erasures = self._erasures
            plan = await make_plan()
            if plan == NOTHING and self._may_be_unnoted(reached):
                break
            async with self._ledger.turn():
                if erasures != self._erasures:
                    continue
                once = self._graph.rules.matching.one_per_source
                plan.touched |= {row.value_hash for row in plan.changes.records if row.source in once}
                await self._write(plan, reached)
            self._noted = reached.consumed
            break
        self._state = reached
        MATCHING_BEHIND.set(self._ledger.next_unit - 1 - reached.consumed)
        self.comparing.saved(plan)

    def _is_unnoted(self) -> bool:
        return self._state is not None and self._state.consumed > self._noted

    def _may_be_unnoted(self, reached: State) -> bool:
        """All but a little that was heard since what is committed."""
        state = self._state
        return state is not None and state[1:] == reached[1:] and reached.consumed - self._noted < MOST_UNNOTED

    async def _write(self, plan: Plan, reached: State) -> None:
        async def save(connection: Any) -> None:
            await record_tables.save(connection, plan.changes, reached, self._ledger.recording)

        await self._graph.settle_or_leave(plan.touched, plan.amend, save)


def _parts(heard: Mapping[bytes, Heard]) -> list[dict[bytes, Heard]]:
    rest = iter(heard.items())
    parts = []
    while part := dict(islice(rest, RECORDS_A_STEP)):
        parts.append(part)
    return parts


def _traits(entry: Entry, key: DataKey | None) -> Mapping[str, Any]:
    """None of what was erased, or can't be opened: it is in profile's log, from where it can be read back."""
    try:
        personal = entry.personal(key)
    except EnvelopeBroken:
        log.error("an event can't be opened", event=entry.event_id.hex())
        return {}
    return personal.traits if personal is not None and not isinstance(personal, Redacted) else {}  # type: ignore[attr-defined]
