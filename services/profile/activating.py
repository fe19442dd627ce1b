"""Puts rules in force: an event of profile's log, from which on profiles are made by them; what is kept follows in pages."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from services.profile.domain.activation import ActivateRules
from services.profile.domain.difference import naming
from services.profile.domain.rules_document import rules_of, to_json
from services.profile.failures import OF_OTHERS, note
from services.profile.record import Recorder
from services.profile.simulating import Progress, Simulation
from services.profile.tables.rulebook import AS_SHIPPED, RULES_STREAM, Activation, Rulebook
from services.profile.tables.states import States
from shared.errors import WrongState
from shared.events.catalogue import EventType, Public, make_entry
from shared.events.consent import PurposeDefined
from shared.events.profile_rules import (
    PROFILE_RULES_ACTIVATED,
    PROFILE_RULES_SETTLED,
    ProfileRulesActivated,
    ProfileRulesDiffer,
    ProfileRulesSettled,
)
from shared.ids import NewId
from shared.instants import Clock
from shared.telemetry import logger

PAGE_STATES: Final = 100  # folded anew from their whole histories, in one transaction

log = logger("rules")


class Activator:
    """`activate` takes rules; `run` has what is kept follow them."""

    def __init__(
        self,
        recorder: Recorder,
        rulebook: Rulebook,
        states: States,
        simulation: Simulation,
        on_activated: Callable[[], None],
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._recorder = recorder
        self._rulebook = rulebook
        self._states = states
        self._simulation = simulation
        self._on_activated = on_activated
        self._clock = clock
        self._new_id = new_id
        self._news = asyncio.Event()
        self.is_folding = False  # what is kept doesn't follow the rules in force yet

    async def activate(
        self, command: ActivateRules, purpose: PurposeDefined | None = None
    ) -> AsyncGenerator[Progress | Activation, None]:
        """How far what they change is counted for the purpose, without one not at all; then the rules in force. What was activated
        under the same id is answered.

        Raises Conflict (REQUEST_ID_REUSED), WrongState (RULES_UNCHANGED), LimitExceeded (SIMULATION_BUSY).
        """
        if (earlier := self._earlier(command)) is not None:
            yield earlier
            return
        rules, expected = rules_of(command.document, 0), ProfileRulesDiffer()
        if purpose is not None:
            async with aclosing(self._simulation.rules(rules, 0, purpose)) as pages:
                async for found in pages:
                    yield found
                    expected = naming(found.found, rules.named | self._rulebook.rules.named)
        async with self._recorder.turn():
            activation = self._earlier(command) or await self._record(command, expected)
        self._on_activated()
        self._news.set()
        yield activation

    async def run(self) -> None:
        """Never returns; raises when a server is down, to be started over from what is recorded."""
        await self._record_shipped()
        while True:
            self._news.clear()
            self.is_folding = True
            try:
                await self._settle()
            finally:
                self.is_folding = False
            await self._news.wait()

    def look(self) -> None:
        """There may be states that are folded for other rules, such as those of an edition that was being made at an activation."""
        self._news.set()

    async def _record_shipped(self) -> None:
        async with self._recorder.turn():
            if self._rulebook.recorded:
                return
            event = ProfileRulesActivated(
                request_id="",
                version=AS_SHIPPED.version,
                document=to_json(AS_SHIPPED.document),
                activated_by=AS_SHIPPED.activated_by,
                reason=AS_SHIPPED.reason,
                expected=ProfileRulesDiffer(),
            )
            await self._append(PROFILE_RULES_ACTIVATED, event)

    def _earlier(self, command: ActivateRules) -> Activation | None:
        earlier = command.answered(self._rulebook.activations)
        if earlier is None and self._rulebook.in_force.document == command.document:
            raise WrongState("these rules are in force", reason="RULES_UNCHANGED", version=self._rulebook.rules.version)
        return earlier

    async def _record(self, command: ActivateRules, expected: ProfileRulesDiffer) -> Activation:
        event = ProfileRulesActivated(
            request_id=command.request_id,
            version=self._rulebook.rules.version + 1,
            document=to_json(command.document),
            activated_by=command.activated_by,
            reason=command.reason,
            expected=expected,
        )
        await self._append(PROFILE_RULES_ACTIVATED, event)
        log.info("rules activated", version=event.version)
        return self._rulebook.in_force

    async def _settle(self) -> None:
        """A state that an event changes meanwhile is folded by that. Ends early when other rules come into force."""
        rules, folded = self._rulebook.rules, 0
        async with aclosing(self._states.pages(PAGE_STATES, of_other_folds=True)) as pages:
            async for page in pages:
                await self._refold(page)
                folded += len(page)
                if rules is not self._rulebook.rules:
                    self._news.set()
                    return
        async with self._recorder.turn():
            if rules is self._rulebook.rules and not self._rulebook.in_force.settled:
                await self._append(PROFILE_RULES_SETTLED, ProfileRulesSettled(version=rules.version, states=folded))
        if folded:
            log.info("states follow the rules", version=rules.version, states=folded)

    async def _refold(self, page: list[bytes]) -> None:
        try:
            await self._states.refold(page)
        except OF_OTHERS:
            raise
        except Exception:
            for stream in page:
                await self._refold_alone(stream)

    async def _refold_alone(self, stream: bytes) -> None:
        """What can't be opened, or folded, is no reason to leave all others as they are; it is refused wherever it is read."""
        try:
            await self._states.refold([stream])
        except OF_OTHERS:
            raise
        except Exception as error:
            note(stream, "refold", error)

    async def _append(self, kind: EventType, event: Public) -> None:
        await self._recorder.append_rules(make_entry(kind, RULES_STREAM, self._new_id(), self._clock(), event))
