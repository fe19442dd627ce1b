"""Use cases of sources and plans: change them, and tell everybody who goes by them."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from services.ingest.domain import plans
from services.ingest.domain import sources as rules
from services.ingest.domain.plans import PublishPlan
from services.ingest.domain.sources import PARTITION, AddKey, ChangeSettings, Command, RegisterSource, RevokeKey
from services.ingest.registrar import Decide, Registrar
from services.ingest.views import Sources
from shared.errors import Conflict, Fenced
from shared.events.source import KeyAdded, KeyRevoked, SourceRegistered
from shared.events.wire import Unit, encode
from shared.log import LogReader, Record
from shared.request_ids import check_request_id

CLAIM_ATTEMPTS: Final = 5  # replicas that change something at the same moment fence each other


Answers = Callable[[Any], bool]  # whether this event of a stream is what a request is answered with


class NewKey(msgspec.Struct, frozen=True):
    """`write_key` is empty when the request was answered before."""

    source: str
    key_name: str
    write_key: str
    write_key_hint: str
    added_at: int
    pos: int

    def __repr__(self) -> str:
        return f"<NewKey of {self.source}>"


class Registry:
    """Changes are carried out one after another."""

    def __init__(self, pool: Any, sources: Sources, registrar: Registrar, random: Callable[[int], bytes]) -> None:
        self._reader = LogReader(pool)
        self._sources = sources
        self._registrar = registrar
        self._random = random
        self._changing = asyncio.Lock()
        self.on_committed: Callable[[], None] = lambda: None

    async def register(self, request_id: str, name: str, changes: dict[str, Any]) -> NewKey:
        """`changes` as in `change_settings`, of what a new source has.

        Raises InvalidInput (NAME_INVALID, REQUEST_ID_MISSING, REQUEST_ID_INVALID, SETTINGS_INVALID), AlreadyExists (SOURCE_EXISTS), Conflict, Unavailable.
        """
        command = RegisterSource(request_id, name, rules.new_write_key(self._random), changes)
        return self._new_key(await self._change(command), command.write_key)

    async def change_settings(self, request_id: str, name: str, changes: dict[str, Any]) -> int:
        """Where the change stands. Raises what `rules.decide` does."""
        return (await self._change(ChangeSettings(request_id, name, changes))).pos

    async def add_key(self, request_id: str, name: str, key_name: str) -> NewKey:
        """Raises what `rules.decide` does."""
        command = AddKey(request_id, name, key_name, rules.new_write_key(self._random))
        return self._new_key(await self._change(command), command.write_key)

    async def revoke_key(self, request_id: str, name: str, key_name: str) -> tuple[int, bool]:
        """Where the revocation stands, and whether another request had revoked the key already. Raises what `rules.decide` does."""

        def is_it(event: Any) -> bool:
            return isinstance(event, KeyRevoked) and event.key_name == key_name

        record = await self._change(RevokeKey(request_id, name, key_name), is_it)
        return record.pos, record.entry.public().request_id != request_id

    async def publish_plan(self, command: PublishPlan) -> Record:
        """Raises what `plans.check` and `plans.publish` do, InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID), NotFound (SOURCE_UNKNOWN)."""
        check_request_id(command.request_id)
        await self._sources.one(command.source)
        await asyncio.to_thread(plans.check, command)
        stream = plans.stream_of(command.source)
        return await self._carry_out(stream, _of_request(command.request_id), lambda events: plans.publish(events, command))

    async def read_outbox(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """The log is the outbox of SOURCE: one message an event, numbered by its position."""
        records = await self._reader.partition(PARTITION, first, limit)
        return [(record.pos, encode(Unit(record.pos, {}, [record.entry]))) for record in records]

    async def _change(self, command: Command, answers: Answers | None = None) -> Record:
        rules.check(command)
        stream = rules.stream_of(command.source)
        decide = partial(_decide, command)
        return await self._carry_out(stream, answers or _of_request(command.request_id), decide)

    async def _carry_out(self, stream: bytes, answers: Answers, decide: Decide) -> Record:
        """The event that answers this request, whether it is new or not."""
        async with self._changing:
            for _ in range(CLAIM_ATTEMPTS):
                try:
                    await self._registrar.carry_out(stream, decide)
                    break
                except Fenced:
                    continue
            else:
                raise Conflict("sources are being changed elsewhere; try again", reason="CONFLICT")
        self.on_committed()
        await self._sources.load()
        records = await self._reader.streams([(PARTITION, stream)])
        return next(record for record in records if answers(record.entry.public()))

    def _new_key(self, record: Record, write_key: str) -> NewKey:
        event: SourceRegistered | KeyAdded = record.entry.public()
        source = event.name if isinstance(event, SourceRegistered) else event.source
        is_new = rules.write_key_hash(write_key) == event.write_key_hash
        return NewKey(source, event.key_name, write_key if is_new else "", event.write_key_hint, record.recorded_at, record.pos)


def _decide(command: Command, events: list[Any]) -> Any:
    return rules.decide(rules.fold(events), command)


def _of_request(request_id: str) -> Answers:
    return lambda event: bool(event.request_id == request_id)
