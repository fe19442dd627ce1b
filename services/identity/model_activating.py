"""Puts a model in force: an event of identity's log. The matcher then compares all records by it, in pages."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from services.identity.activating import reported
from services.identity.domain.activation import Activate
from services.identity.graph.difference import Difference
from services.identity.graph.rules import Rules
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.simulating import Progress
from services.identity.tables import modelbook
from services.identity.tables.modelbook import MODEL_STREAM, ModelActivation
from shared.errors import WrongState
from shared.events.catalogue import EventType, Public, make_entry
from shared.events.models import MODEL_ACTIVATED, MODEL_SETTLED, ModelActivated, ModelSettled
from shared.ids import NewId
from shared.instants import Clock
from shared.log.writer import Versioned
from shared.telemetry import logger

log = logger("matching")


ActivateModel = Activate[str]
CheckModel = Callable[[str, Rules], AsyncGenerator[Progress, None]]  # by these rules


class ModelActivator:
    """`activated` is told when another model is in force."""

    def __init__(self, ledger: Ledger, check: CheckModel, clock: Clock, new_id: NewId, activated: Callable[[], None]) -> None:
        self._ledger = ledger
        self._check = check
        self._clock = clock
        self._new_id = new_id
        self._activated = activated

    async def activate(self, command: ActivateModel) -> AsyncGenerator[Progress | ModelActivation, None]:
        """How far what it changes is counted, then the model in force. What was activated under the same id is answered.

        Raises InvalidInput (MODEL_INVALID, HOUSEHOLD_TRAP), Conflict (REQUEST_ID_REUSED), WrongState (MODEL_UNCHANGED), TooLarge
        (REGION_TOO_LARGE).
        """
        model = await asyncio.to_thread(modelbook.read, command.document)
        async with self._ledger.turn():
            earlier = self._earlier(command, model.version, await modelbook.history(self._ledger.reader))
        if earlier is not None:
            yield earlier
            return
        found = Progress(0, 0, Difference())
        async with aclosing(self._check(command.document, self._ledger.rules)) as pages:
            async for found in pages:
                yield found
        async with self._ledger.turn():
            activations = await modelbook.history(self._ledger.reader)
            activation = self._earlier(command, model.version, activations)
            if activation is None:
                activation = await self._record(command, model.version, found, activations[-1].number + 1)
        self._activated()
        yield activation

    async def record_shipped(self) -> None:
        """When an installation starts for the first time."""
        async with self._ledger.turn():
            if await self._ledger.reader.version(IDENTITY_PARTITION, MODEL_STREAM):
                return
            shipped = modelbook.shipped()
            event = ModelActivated(
                request_id="",
                number=shipped.number,
                model=shipped.version,
                document=shipped.document,
                activated_by=shipped.activated_by,
                reason=shipped.reason,
                expected=shipped.expected,
            )
            await self._commit(MODEL_ACTIVATED, event)

    def _earlier(self, command: ActivateModel, version: str, activations: Sequence[ModelActivation]) -> ModelActivation | None:
        earlier = command.answered(activations)
        if earlier is None and activations[-1].version == version:
            raise WrongState("this model is in force", reason="MODEL_UNCHANGED", number=activations[-1].number)
        return earlier

    async def _record(self, command: ActivateModel, version: str, found: Progress, number: int) -> ModelActivation:
        event = ModelActivated(
            request_id=command.request_id,
            number=number,
            model=version,
            document=command.document,
            activated_by=command.activated_by,
            reason=command.reason,
            expected=reported(found),
        )
        await self._commit(MODEL_ACTIVATED, event)
        log.info("model activated", number=number, model=version)
        return self._ledger.model

    async def _commit(self, kind: EventType, event: Public) -> None:
        await commit_about_model(self._ledger, kind, event, self._clock, self._new_id)


def settling(ledger: Ledger, clock: Clock, new_id: NewId) -> Callable[[int], Awaitable[None]]:
    """What the matcher calls, in a turn, when it has compared so many records by the model in force: all that there are."""

    async def settled(records: int) -> None:
        event = ModelSettled(number=ledger.model.number, records=records)
        await commit_about_model(ledger, MODEL_SETTLED, event, clock, new_id)
        log.info("the graph follows the model", number=ledger.model.number, records=records)

    return settled


async def commit_about_model(ledger: Ledger, kind: EventType, event: Public, clock: Clock, new_id: NewId) -> None:
    version = await ledger.reader.version(IDENTITY_PARTITION, MODEL_STREAM) + 1
    entry = make_entry(kind, MODEL_STREAM, new_id(), clock(), event)
    await ledger.commit([Versioned(IDENTITY_PARTITION, version, entry)], [])
