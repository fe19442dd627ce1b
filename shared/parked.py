"""What a consumer set aside, in a table of its schema, until it is replayed. Rows hold ciphertext as it came.

Parking commits with the consumed position, taking out commits with the effect, so nothing is parked twice or applied twice.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from shared.ids import derived_id
from shared.instants import Clock

TABLE = """
CREATE TABLE parked (
    parked_id      bytea PRIMARY KEY,
    stream         text  NOT NULL,
    sequence       int8  NOT NULL,
    part           int4  NOT NULL,
    event_id       bytea NOT NULL,
    type_id        text  NOT NULL,
    schema_version int4  NOT NULL,
    customer       bytea NOT NULL,
    epoch          bytea NOT NULL DEFAULT '',
    reason         text  NOT NULL,
    data           bytea NOT NULL,
    run            int4  NOT NULL,
    parked_at      int8  NOT NULL,
    attempts       int4  NOT NULL DEFAULT 0,
    attempted_at   int8  NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX parked_by_place ON parked (stream, sequence, part);
CREATE INDEX parked_by_customer ON parked (customer);
"""
GRANT = "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.parked TO {role};"

Place = tuple[str, int, int]  # (stream, sequence, part): the order of pages


class Parked(msgspec.Struct, kw_only=True):
    """`sequence` and `part` say where in `stream` it stood, `data` is as it came; `run` how many in a row it ended.

    `customer` or `epoch` owns the key it is sealed under, as far as that could be read.
    """

    stream: str
    sequence: int
    part: int = 0
    reason: str
    data: bytes
    event_id: bytes = b""
    type_id: str = ""
    schema_version: int = 0
    customer: bytes = b""
    epoch: bytes = b""
    run: int = 0
    parked_at: int = 0
    attempts: int = 0
    attempted_at: int = 0

    @property
    def parked_id(self) -> bytes:
        return derived_id(b"parked", self.stream.encode(), self.sequence.to_bytes(8), self.part.to_bytes(4))

    @property
    def place(self) -> Place:
        return self.stream, self.sequence, self.part

    def __repr__(self) -> str:
        return f"<Parked {self.stream} {self.sequence}/{self.part} {self.reason}>"


FIELDS = Parked.__struct_fields__
COLUMNS = ", ".join(FIELDS)
PLACEHOLDERS = ", ".join(f"${number}" for number in range(2, len(FIELDS) + 2))


class NotParked(Exception):
    """Nothing of this id is parked: it never was, or was applied meanwhile."""


class ParkedTable:
    def __init__(self, pool: Any, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def put(self, connection: Any, parked: Sequence[Parked]) -> None:
        """Part of the transaction that consumes what these came in."""
        now = self._clock()
        for one in parked:
            one.parked_at = now
            await connection.execute(
                f"INSERT INTO parked (parked_id, {COLUMNS}) VALUES ($1, {PLACEHOLDERS}) ON CONFLICT DO NOTHING",  # noqa: S608
                one.parked_id,
                *(getattr(one, name) for name in FIELDS),
            )

    async def take(self, connection: Any, parked_id: bytes) -> None:
        """Part of the transaction that applies it. Raises NotParked: nothing else may be committed then."""
        if not await connection.fetchval("DELETE FROM parked WHERE parked_id = $1 RETURNING true", parked_id):
            raise NotParked

    async def discard(self, parked_id: bytes) -> Parked | None:
        """It is gone, and nothing came of it. None when it isn't parked."""
        row = await self._pool.fetchrow(f"DELETE FROM parked WHERE parked_id = $1 RETURNING {COLUMNS}", parked_id)  # noqa: S608
        return Parked(**row) if row else None

    async def still(self, parked_id: bytes, reason: str) -> None:
        """A replay was in vain."""
        await self._pool.execute(
            "UPDATE parked SET reason = $2, attempts = attempts + 1, attempted_at = $3 WHERE parked_id = $1",
            parked_id,
            reason,
            self._clock(),
        )

    async def page(self, after: Place, limit: int) -> list[Parked]:
        """In the order in which they came."""
        rows = await self._pool.fetch(
            f"""SELECT {COLUMNS} FROM parked WHERE (stream, sequence, part) > ($1, $2, $3)
                ORDER BY stream, sequence, part LIMIT $4""",  # noqa: S608
            *after,
            limit,
        )
        return [Parked(**row) for row in rows]

    async def count(self) -> int:
        return int(await self._pool.fetchval("SELECT count(*) FROM parked"))

    async def find(self, parked_ids: Collection[bytes]) -> dict[bytes, Parked]:
        rows = await self._pool.fetch(
            f"SELECT {COLUMNS} FROM parked WHERE parked_id = ANY($1::bytea[])",  # noqa: S608
            list(parked_ids),
        )
        return {one.parked_id: one for one in (Parked(**row) for row in rows)}

    async def epochs(self) -> list[bytes]:
        rows = await self._pool.fetch("SELECT DISTINCT epoch FROM parked WHERE epoch <> '' ORDER BY epoch")
        return [row["epoch"] for row in rows]

    async def remove_stale(self, epochs: Collection[bytes], before: int) -> int:
        """What is sealed under keys of these epochs, and what was parked before an instant. How many went."""
        deleted = await self._pool.fetch(
            "DELETE FROM parked WHERE epoch = ANY($1::bytea[]) OR parked_at < $2 RETURNING 1", list(epochs), before
        )
        return len(deleted)

    async def trailing_run(self, stream: str, consumed: int) -> int:
        """How many in a row were parked at the end of what is consumed."""
        run = await self._pool.fetchval(
            "SELECT run FROM parked WHERE stream = $1 AND sequence = $2 ORDER BY part DESC LIMIT 1", stream, consumed
        )
        return run or 0


async def purge(connection: Any, customers: Collection[bytes]) -> int:
    """What is parked of erased customers goes; what came in a message whose customer isn't known stays sealed. How many went."""
    deleted = await connection.fetch("DELETE FROM parked WHERE customer = ANY($1::bytea[]) RETURNING 1", list(customers))
    return len(deleted)
