"""Tables `rights_requests`, how each stands, `rights_steps`, what became of it, and `rights_callbacks`, who is told."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from services.consent.domain.rights import OPEN, RightsRequest, State, Step, evolve
from shared.errors import TooLarge
from shared.events.catalogue import Entry, encode
from shared.events.rights import RECEIVED, Right, RightsRequestFulfilled
from shared.events.wire import decode_entry
from shared.events.wire import encode as encode_entry
from shared.ids import from_text
from shared.log import Record

MOST_STEPS = 1_000  # of one request; keeps an answer below the largest message

_decode = msgspec.msgpack.Decoder(RightsRequest).decode


class PlacedStep(msgspec.Struct, frozen=True):
    step: Step
    entry: Entry
    pos: int
    recorded_at: int


class Standing(msgspec.Struct, frozen=True):
    """A request as it stands."""

    rights_id: bytes
    request: RightsRequest


class Callback(msgspec.Struct, frozen=True):
    """Somebody who was last told that the request stood as `told`; `tries` failed since."""

    rights_id: bytes
    url: str
    told: State
    tries: int
    request: RightsRequest


class Rights:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @staticmethod
    async def apply(connection: Any, records: Sequence[Record]) -> None:
        """Runs in the transaction that writes these events."""
        for record in records:
            rights_id, step = record.entry.stream, record.entry.public()
            await connection.execute(
                "INSERT INTO rights_steps (rights_id, pos, request_id, recorded_at, entry) VALUES ($1, $2, $3, $4, $5)",
                rights_id,
                record.pos,
                step.request_id,
                record.recorded_at,
                encode_entry(record.entry),
            )
            kept = await connection.fetchval("SELECT request FROM rights_requests WHERE rights_id = $1", rights_id)
            request = evolve(_decode(kept) if kept else None, step)
            await connection.execute(
                """INSERT INTO rights_requests (rights_id, value_hash, asked, pos, state, due_on, request)
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (rights_id) DO UPDATE
                   SET state = excluded.state, due_on = excluded.due_on, request = excluded.request""",
                rights_id,
                request.received.identifier_hash,
                request.received.right,
                record.pos,
                request.state,
                request.due_on,
                encode(request),
            )
            if kept is None:
                await connection.executemany(
                    "INSERT INTO rights_callbacks (rights_id, url, told) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    [(rights_id, url, request.state) for url in request.received.callback_urls],
                )

    async def of_request(self, request_id: str) -> PlacedStep | None:
        row = await self._pool.fetchrow("SELECT * FROM rights_steps WHERE request_id = $1", request_id)
        return _placed(row) if row else None

    async def steps(self, rights_id: bytes) -> list[PlacedStep]:
        """Oldest first; none of a request that there isn't."""
        rows = await self._pool.fetch("SELECT * FROM rights_steps WHERE rights_id = $1 ORDER BY pos", rights_id)
        return [_placed(row) for row in rows]

    async def open_one(self, value_hash: bytes, right: Right) -> bytes:
        """The first that was received of those that are open; empty: none is."""
        found = await self._pool.fetchval(
            """SELECT rights_id FROM rights_requests
               WHERE value_hash = $1 AND asked = $2 AND state = ANY($3::text[]) ORDER BY pos LIMIT 1""",
            value_hash,
            right,
            list(OPEN),
        )
        return bytes(found or b"")

    async def fulfilled_by(self, value_hashes: Collection[bytes]) -> dict[bytes, tuple[bytes, ...]]:
        """By decision, the requests to restrict something of these identifiers that it is named to have fulfilled."""
        rows = await self._pool.fetch(
            """SELECT steps.* FROM rights_requests JOIN rights_steps AS steps USING (rights_id)
               WHERE value_hash = ANY($1::bytea[]) AND asked = 'restriction' AND state = 'fulfilled' ORDER BY steps.pos""",
            list(value_hashes),
        )
        found: dict[bytes, tuple[bytes, ...]] = {}
        for placed in map(_placed, rows):
            if isinstance(placed.step, RightsRequestFulfilled):
                for reference in placed.step.references:
                    decision = from_text(reference, "decision")
                    found[decision] = (*found.get(decision, ()), placed.entry.stream)
        return found

    async def due(
        self, states: Sequence[str], asked: Sequence[str], value_hash: bytes | None, after: tuple[str, bytes], limit: int
    ) -> list[Standing]:
        """What is due first comes first, from behind a place on. `value_hash`: of that identifier alone."""
        rows = await self._pool.fetch(
            """SELECT rights_id, request FROM rights_requests
               WHERE state = ANY($1::text[]) AND asked = ANY($2::text[]) AND ($3::bytea IS NULL OR value_hash = $3)
                 AND (due_on, rights_id) > ($4, $5::bytea)
               ORDER BY due_on, rights_id LIMIT $6""",
            list(states),
            list(asked),
            value_hash,
            *after,
            limit,
        )
        return [Standing(row["rights_id"], _decode(row["request"])) for row in rows]

    async def callbacks_due(self, now: int, limit: int) -> list[Callback]:
        """Who isn't told how a request stands, and may be tried by now."""
        rows = await self._pool.fetch(
            """SELECT rights_id, url, told, tries, request FROM rights_callbacks JOIN rights_requests USING (rights_id)
               WHERE told <> state AND try_at <= $1 ORDER BY try_at LIMIT $2""",
            now,
            limit,
        )
        return [Callback(row["rights_id"], row["url"], row["told"], row["tries"], _decode(row["request"])) for row in rows]

    async def told(self, callback: Callback) -> None:
        """How the request then stood; whoever was told its end is told nothing more."""
        key = (callback.rights_id, callback.url)
        if callback.request.state in OPEN:
            await self._pool.execute(
                "UPDATE rights_callbacks SET told = $3, tries = 0, try_at = 0 WHERE rights_id = $1 AND url = $2",
                *key,
                callback.request.state,
            )
        else:
            await self._pool.execute("DELETE FROM rights_callbacks WHERE rights_id = $1 AND url = $2", *key)

    async def try_again(self, callback: Callback, at: int) -> None:
        await self._pool.execute(
            "UPDATE rights_callbacks SET tries = tries + 1, try_at = $3 WHERE rights_id = $1 AND url = $2",
            callback.rights_id,
            callback.url,
            at,
        )

    async def counts(self, late_before: str) -> tuple[dict[str, int], int]:
        """How many are open, by what they ask for, and how many of them were due before a day."""
        rows = await self._pool.fetch(
            """SELECT asked, count(*) AS open, count(*) FILTER (WHERE due_on < $2) AS late FROM rights_requests
               WHERE state = ANY($1::text[]) GROUP BY asked""",
            list(OPEN),
            late_before,
        )
        return {row["asked"]: row["open"] for row in rows}, sum(row["late"] for row in rows)


def check_room(steps: Sequence[PlacedStep]) -> None:
    """Raises TooLarge (TOO_MANY_STEPS)."""
    if len(steps) >= MOST_STEPS:
        raise TooLarge(f"a request has at most {MOST_STEPS} steps: refuse it, and open another", reason="TOO_MANY_STEPS")


def _placed(row: Any) -> PlacedStep:
    entry = decode_entry(row["entry"])
    return PlacedStep(entry.public(), entry, row["pos"], row["recorded_at"])


def is_step(entry: Entry) -> bool:
    return entry.type_id.startswith(RECEIVED.id.partition(".")[0] + ".")
