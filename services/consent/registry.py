"""The registry's use cases: define, and tell which version was in force when."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from services.consent.domain import definitions
from services.consent.domain.callers import LONGEST_OVERRIDE, MOST_CALLERS
from services.consent.domain.definitions import EVENT_TYPES, Define, Definition, Kind, key_of
from services.consent.domain.form import NAME
from services.consent.domain.ledger import NOW, Instant
from services.consent.domain.ready import READY
from services.consent.views import MOST_VERSIONS, Definitions, Placed
from services.consent.writing import ConsentLog
from shared.callers import Told
from shared.errors import NotFound
from shared.events.callers import CallerDefined, OverrideDefined
from shared.events.catalogue import make_entry
from shared.events.consent import PurposeDefined, definition_stream
from shared.ids import NewId
from shared.telemetry import BREAK_GLASS_REVIEWS_DUE, logger
from shared.waiting import wait_for_news

COUNT_S: Final = 30.0  # an override comes to its end without anybody saying so
PAGE: Final = 500  # overrides at a time

log = logger("registry")


class Registry:
    def __init__(self, stored: Definitions, log: ConsentLog, new_id: NewId) -> None:
        self._stored = stored
        self._log = log
        self._new_id = new_id
        self.on_callers: Callable[[], None] = lambda: None
        self.ready = asyncio.Event()  # what is there at first was defined
        self._overridden = asyncio.Event()

    async def define_ready(self) -> None:
        """What nobody has defined yet."""
        for command in READY:
            async with self._log.turn():
                known = await self._stored.newest_of(*key_of(command.definition))
            if known is None:
                await self._define(command)
        self.ready.set()

    async def define(self, command: Define, timeout_s: float) -> Placed[Definition]:
        """A purpose is answered when every reader goes by it. Raises what `definitions.define` does, and DeadlineExceeded."""
        until = asyncio.get_running_loop().time() + timeout_s
        placed = await self._define(command)
        if isinstance(placed.event, PurposeDefined):
            await self._log.enforced(placed.pos, until, {})
        return placed

    async def callers(self) -> Told:
        """All, in their newest versions; of overrides those that are open."""
        callers = [placed.event for placed in await self._stored.newest("caller", "", MOST_CALLERS)]
        overrides = [
            placed.event
            for placed in await self._stored.newest_since("override", self._log.at(NOW) - LONGEST_OVERRIDE, MOST_CALLERS)
        ]
        return Told(
            [one for one in callers if isinstance(one, CallerDefined)],
            [one for one in overrides if isinstance(one, OverrideDefined) and not one.closed],
        )

    async def keep_counted(self) -> None:
        """Never returns: tells the metrics, and of each once the log, which overrides are over and wait for their review."""
        told = set[str]()
        while True:
            self._overridden.clear()
            due = await self.reviews_due()
            BREAK_GLASS_REVIEWS_DUE.set(len(due))
            for override in due:
                if override.name not in told:
                    log.warning("an override waits for its review", override=override.name, caller=override.caller)
            told = {override.name for override in due}
            await wait_for_news(self._overridden, COUNT_S)

    async def reviews_due(self) -> list[OverrideDefined]:
        """By name."""
        due, after, now = list[OverrideDefined](), "", self._log.at(NOW)
        while page := await self._stored.newest("override", after, PAGE):
            overrides = [placed.event for placed in page if isinstance(placed.event, OverrideDefined)]
            due += [one for one in overrides if one.waits_for_review(now)]
            after = page[-1].event.name
        return due

    async def _define(self, command: Define) -> Placed[Definition]:
        wanted = command.definition
        async with self._log.turn() as now:
            earlier = await self._stored.of_request(wanted.request_id)
            known = [await self._stored.newest_of(*key) for key in (key_of(wanted), *definitions.references(wanted))]
            if isinstance(wanted, CallerDefined):
                known += await self._stored.newest("caller", "", MOST_CALLERS)
            registry = definitions.fold(placed.event for placed in (earlier, *known) if placed)
            for event in definitions.define(registry, command, now):
                kind, name = key_of(event)
                entry = make_entry(EVENT_TYPES[kind], definition_stream(kind, name), self._new_id(), event.in_force_at, event)
                placed = await self._log.append(event, entry)
                if isinstance(event, CallerDefined | OverrideDefined):
                    self.on_callers()
                    self._overridden.set()
                return placed
        assert earlier is not None, "no event means that it was defined before"
        return earlier

    async def version(self, kind: Kind, name: str, version: int) -> Placed[Definition]:
        """Raises NotFound (DEFINITION_UNKNOWN)."""
        _require_name(name)
        return _found(await self._stored.version(kind, name, min(version, MOST_VERSIONS)))

    async def in_force(self, kind: Kind, name: str, instant: Instant) -> Placed[Definition]:
        """Raises NotFound (DEFINITION_UNKNOWN), InvalidInput (INSTANT_IN_FUTURE)."""
        _require_name(name)
        return _found(await self._stored.in_force(kind, name, await self._log.settled(instant)))

    async def newest(self, kind: Kind, after: str, limit: int) -> Sequence[Placed[Definition]]:
        return await self._stored.newest(kind, after, limit)

    async def versions(self, kind: Kind, name: str, before: int, limit: int) -> Sequence[Placed[Definition]]:
        """Newest first. Raises NotFound (DEFINITION_UNKNOWN)."""
        _require_name(name)
        found = await self._stored.versions(kind, name, before, limit)
        if not found and await self._stored.newest_of(kind, name) is None:
            raise _nothing()
        return found


def _require_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise _nothing()


def _found(placed: Placed[Definition] | None) -> Placed[Definition]:
    if placed is None:
        raise _nothing()
    return placed


def _nothing() -> NotFound:
    return NotFound("nothing of this name was defined, or not yet then", reason="DEFINITION_UNKNOWN")
