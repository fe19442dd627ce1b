"""The use cases of signals: keep what was received, decide what follows from it, and tell both."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from services.consent.domain.ledger import Ledger, fold
from services.consent.domain.ready import SIGNALS
from services.consent.domain.receiving import Received, ReceiveSignal, check_repeated, receive
from services.consent.domain.signals.mapping import MOST_RULES, read_mapping
from services.consent.signals import PlacedSignal, Signals
from services.consent.views import Decisions, Definitions, Placed
from services.consent.writing import ConsentLog
from shared.errors import CustomerError, InvalidInput
from shared.events.catalogue import Entry, make_entry
from shared.events.consent import DECISION_RECORDED, DecisionRecorded, PurposeDefined, decisions_stream
from shared.events.signals import SIGNAL_RECEIVED, MappingDefined, SignalText
from shared.evidence_key import EvidenceKey
from shared.ids import NewId, to_text
from shared.pieces import AT_ONCE, Pieces


class Answered(msgspec.Struct, frozen=True):
    signal: PlacedSignal
    decisions: list[Placed[DecisionRecorded]]
    readers: int


class Receiver:
    def __init__(self, pool: Any, definitions: Definitions, log: ConsentLog, key: EvidenceKey, new_id: NewId) -> None:
        self._definitions = definitions
        self._signals = Signals(pool)
        self._decisions = Decisions(pool)
        self._log = log
        self._key = key
        self._new_id = new_id

    async def receive(self, command: ReceiveSignal, timeout_s: float) -> Answered:
        """The signal, its decisions, and how many live readers enforce these.

        Raises what `domain.receiving.receive` and `check_repeated` do, InvalidInput (SIGNAL_MAPPING_UNKNOWN), and DeadlineExceeded
        (NOT_YET_ENFORCED): it is recorded, and the same command waits again.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        async with self._log.turn() as now:
            signal = await self._signals.of_request(command.request_id)
            if signal is None:
                signal = await self._record(command, now)
            else:
                check_repeated(command, self._key.hash_of(command.text), signal.event)
        decisions = await self._decisions.of_signal(command.identifier_hash, signal.entry.event_id, signal.pos, MOST_RULES)
        newest = max([signal.pos, *(placed.pos for placed in decisions)])
        readers = await self._log.enforced(newest, until, {"signal_id": to_text(signal.entry.event_id)})
        return Answered(signal, decisions, readers)

    async def signals_of(self, value_hash: bytes, after: int, limit: int) -> list[PlacedSignal]:
        """Oldest first by when they were recorded."""
        return await self._signals.of_identifier(value_hash, after, limit)

    def text_of(self, signal: PlacedSignal) -> str:
        """What was sent. Raises EnvelopeBroken."""
        personal = signal.entry.personal(self._key.data_key)
        assert isinstance(personal, SignalText), "it is sealed under a key that nobody destroys"
        return personal.text

    async def receive_all(self, commands: Sequence[ReceiveSignal]) -> list[CustomerError]:
        """All read by the ready mapping; what was recorded before has no second effect. Gives why some were refused."""
        refused: list[CustomerError] = []
        if not commands:
            return refused
        async with self._log.turn() as now:
            known = await self._signals.recorded({command.request_id for command in commands})
            versions = await self._versions(SIGNALS)
            ledger, pieces, entries = await self._ledger(versions), Pieces(AT_ONCE), list[Entry]()
            for command in commands:
                if command.request_id in known:
                    continue
                known.add(command.request_id)
                try:
                    received = receive(ledger, versions, command, self._key.hash_of(command.text), now, self._new_id)
                except InvalidInput as error:
                    refused.append(error)
                else:
                    entries += self._entries(received, command.text)
                await pieces.done(1)
            if entries:
                await self._log.append_all(entries)
        return refused

    async def _record(self, command: ReceiveSignal, now: int) -> PlacedSignal:
        versions = await self._versions(command.mapping)
        ledger = await self._ledger(versions)
        received = receive(ledger, versions, command, self._key.hash_of(command.text), now, self._new_id)
        entries = self._entries(received, command.text)
        record = (await self._log.append_all(entries))[0]
        return PlacedSignal(received.signal, record.entry, record.pos, record.recorded_at)

    async def _ledger(self, versions: Sequence[MappingDefined]) -> Ledger:
        """The purposes that a mapping names, all versions."""
        named = sorted({purpose for version in versions for purpose in read_mapping(version.document).purposes})
        found = [placed.event for placed in await self._definitions.all_versions("purpose", named)]
        return fold(event for event in found if isinstance(event, PurposeDefined))

    async def _versions(self, mapping: str) -> Sequence[MappingDefined]:
        found = await self._definitions.all_versions("mapping", [mapping])
        if not found:
            raise InvalidInput("no mapping has this name", reason="SIGNAL_MAPPING_UNKNOWN")
        return [placed.event for placed in found if isinstance(placed.event, MappingDefined)]

    def _entries(self, received: Received, text: str) -> list[Entry]:
        """The signal, and behind it what was decided by it."""
        signal, stream = received.signal, decisions_stream(received.signal.identifier_hash)
        return [
            make_entry(
                SIGNAL_RECEIVED,
                stream,
                received.signal_id,
                signal.happened_at,
                signal,
                SignalText(text=text),
                self._key.data_key,
            ),
            *(make_entry(DECISION_RECORDED, stream, self._new_id(), one.decided_at, one) for one in received.decisions),
        ]
