"""Table `signals`: what was received, by identifier, as it stands in the log."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from shared.events.catalogue import Entry
from shared.events.signals import SignalReceived
from shared.events.wire import decode_entry, encode
from shared.log import Record


class PlacedSignal(msgspec.Struct, frozen=True):
    """`entry` has its text, sealed; its event id is the signal's."""

    event: SignalReceived
    entry: Entry
    pos: int
    recorded_at: int


class Signals:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @staticmethod
    async def apply(connection: Any, received: Sequence[tuple[SignalReceived, Record]]) -> None:
        """Runs in the transaction that writes these events."""
        if received:
            await connection.execute(
                """INSERT INTO signals (pos, value_hash, kind, request_id, recorded_at, entry)
                   SELECT * FROM unnest($1::int8[], $2::bytea[], $3::text[], $4::text[], $5::int8[], $6::bytea[])""",
                [record.pos for _, record in received],
                [event.identifier_hash for event, _ in received],
                [event.kind for event, _ in received],
                [event.request_id for event, _ in received],
                [record.recorded_at for _, record in received],
                [encode(record.entry) for _, record in received],
            )

    async def of_request(self, request_id: str) -> PlacedSignal | None:
        row = await self._pool.fetchrow("SELECT * FROM signals WHERE request_id = $1", request_id)
        return _placed(row) if row else None

    async def recorded(self, request_ids: Collection[str]) -> set[str]:
        """Which of these were."""
        rows = await self._pool.fetch("SELECT request_id FROM signals WHERE request_id = ANY($1::text[])", list(request_ids))
        return {row["request_id"] for row in rows}

    async def of_identifier(self, value_hash: bytes, after: int, limit: int) -> list[PlacedSignal]:
        """Oldest first by when they were recorded, from behind a position on."""
        rows = await self._pool.fetch(
            "SELECT * FROM signals WHERE value_hash = $1 AND pos > $2 ORDER BY pos LIMIT $3", value_hash, after, limit
        )
        return [_placed(row) for row in rows]


def _placed(row: Any) -> PlacedSignal:
    entry = decode_entry(row["entry"])
    return PlacedSignal(entry.public(), entry, row["pos"], row["recorded_at"])
