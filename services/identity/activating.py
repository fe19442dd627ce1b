"""Puts rules in force: an event of identity's log, behind which everything is concluded by them; the graph follows in pages."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from services.identity.domain.activation import Activate
from services.identity.domain.rules_document import RulesDocument, rules_of, to_json
from services.identity.graph.difference import Difference
from services.identity.graph.rules import Rules
from services.identity.graph_writer import GraphWriter
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.ruled_pages import Page, RuledPages
from services.identity.simulating import Progress
from services.identity.tables import resettling, rulebook
from services.identity.tables.resettling import Resettling
from services.identity.tables.rulebook import RULES_STREAM, SHIPPED, Activation
from shared.errors import WrongState
from shared.events.catalogue import EventType, Public, make_entry
from shared.events.rules import RULES_ACTIVATED, RULES_SETTLED, RulesActivated, RulesDiffer, RulesSettled
from shared.ids import NewId
from shared.instants import Clock
from shared.log.writer import Versioned
from shared.telemetry import logger
from shared.waiting import wait_for_news

PAGE_IDENTIFIERS = 200  # and what their components hold besides, in one transaction
LOOK_S = 30.0  # how often to look for what is unfinished without being told

log = logger("rules")


ActivateRules = Activate[RulesDocument]
CheckRules = Callable[[Rules], AsyncGenerator[Progress, None]]


class Activator:
    """`activate` takes rules; `run` has the graph follow them."""

    def __init__(self, pool: Any, ledger: Ledger, graph: GraphWriter, check: CheckRules, clock: Clock, new_id: NewId) -> None:
        self._pool = pool
        self._ledger = ledger
        self._pages = RuledPages(pool, ledger, graph, new_id)
        self._check = check
        self._clock = clock
        self._new_id = new_id
        self._news = asyncio.Event()

    async def activate(self, command: ActivateRules) -> AsyncGenerator[Progress | Activation, None]:
        """How far what they change is counted, then the rules in force. What was activated under the same id is answered.

        Raises Conflict (REQUEST_ID_REUSED), WrongState (RULES_UNCHANGED), TooLarge (REGION_TOO_LARGE).
        """
        async with self._ledger.turn():
            earlier = self._earlier(command, await rulebook.history(self._ledger.reader))
        if earlier is not None:
            yield earlier
            return
        found = Progress(0, 0, Difference())
        async with aclosing(self._check(rules_of(command.document, 0))) as pages:
            async for found in pages:
                yield found
        async with self._ledger.turn():
            activations = await rulebook.history(self._ledger.reader)
            activation = self._earlier(command, activations) or await self._record(command, found, activations[-1].version + 1)
        self._news.set()
        yield activation

    async def run(self) -> None:
        """Never returns; raises when a server is down, to be started over from what is recorded."""
        await self._record_shipped()
        while True:
            self._news.clear()
            while await self._resettle_page():
                pass
            await wait_for_news(self._news, LOOK_S)

    async def _record_shipped(self) -> None:
        async with self._ledger.turn():
            if await self._ledger.reader.version(IDENTITY_PARTITION, RULES_STREAM):
                return
            event = RulesActivated(
                request_id="",
                version=SHIPPED.version,
                document=to_json(SHIPPED.document),
                activated_by=SHIPPED.activated_by,
                reason=SHIPPED.reason,
                expected=RulesDiffer(),
            )
            await self._ledger.commit([await self._entry(RULES_ACTIVATED, event)], [])

    def _earlier(self, command: ActivateRules, activations: list[Activation]) -> Activation | None:
        earlier = command.answered(activations)
        if earlier is None and activations[-1].document == command.document:
            raise WrongState("these rules are in force", reason="RULES_UNCHANGED", version=activations[-1].version)
        return earlier

    async def _record(self, command: ActivateRules, found: Progress, version: int) -> Activation:
        event = RulesActivated(
            request_id=command.request_id,
            version=version,
            document=to_json(command.document),
            activated_by=command.activated_by,
            reason=command.reason,
            expected=reported(found),
        )
        own = await self._entry(RULES_ACTIVATED, event)
        await self._ledger.commit([own], [], write_views=lambda connection, _: resettling.begin(connection, version))
        log.info("rules activated", version=version)
        return self._ledger.activation

    async def _resettle_page(self) -> bool:
        """Whether there is more to do."""
        return await self._pages.settle(self._next_page)

    async def _next_page(self) -> Page | None:
        """In a turn. None: nothing is to be followed any more."""
        so_far = await resettling.under_way(self._pool)
        if so_far is None:
            return None
        page = await resettling.page_after(self._pool, so_far.settled_to, PAGE_IDENTIFIERS)
        if not page:
            await self._finish(so_far)
            return None
        return Page(so_far, page)

    async def _finish(self, so_far: Resettling) -> None:
        event = RulesSettled(
            version=so_far.version,
            identifiers=so_far.identifiers,
            merges=so_far.merges,
            splits=so_far.splits,
            links=so_far.links,
            unlinks=so_far.unlinks,
        )
        own = await self._entry(RULES_SETTLED, event)
        await self._ledger.commit([own], [], write_views=lambda connection, _: resettling.end(connection))
        log.info("the graph follows the rules", version=so_far.version, identifiers=so_far.identifiers)

    async def _entry(self, kind: EventType, event: Public) -> Versioned:
        version = await self._ledger.reader.version(IDENTITY_PARTITION, RULES_STREAM) + 1
        return Versioned(IDENTITY_PARTITION, version, make_entry(kind, RULES_STREAM, self._new_id(), self._clock(), event))


def reported(found: Progress) -> RulesDiffer:
    return RulesDiffer(
        identifiers=found.identifiers,
        merges=found.found.merges,
        splits=found.found.splits,
        links=found.found.links,
        unlinks=found.found.unlinks,
        shared=found.found.shared,
        returned=found.found.returned,
    )
