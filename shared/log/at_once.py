"""A log that is written often and little at a time: a unit is one statement, so that it costs one round trip and no transaction."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from shared.errors import Fenced
from shared.instants import Clock
from shared.log.placing import Placed
from shared.log.records import STORED_COLUMNS, Record, to_row
from shared.log.writer import MOVED, MOVED_PARAMETERS, LogWriter, Views, moved_columns

TYPES: Final = ("int4", "int8", "int8", "int8", "bytea", "bytea", "text", "int4", "int8", "bytea", "bytea", "bytea")
FIRST_OF_VIEWS: Final = MOVED_PARAMETERS + len(TYPES) + 1
WRITTEN: Final = f"""
    written AS (
        INSERT INTO events ({", ".join(STORED_COLUMNS)})
        SELECT * FROM unnest({", ".join(f"${place}::{kind}[]" for place, kind in enumerate(TYPES, MOVED_PARAMETERS + 1))})
        WHERE (SELECT count(*) FROM moved) = cardinality($1)
    )"""  # noqa: S608

Parameters = Callable[[Sequence[Record]], Sequence[Any]]


class AtOnce(LogWriter):
    """`views` are further parts of the statement, with parameters from FIRST_OF_VIEWS on; each writes only where `moved` has all heads."""

    def __init__(self, pool: Any, partitions: Iterable[int], clock: Clock, views: Sequence[str], parameters: Parameters) -> None:
        super().__init__(pool, partitions, clock)
        self._statement = f"WITH {', '.join((MOVED, WRITTEN, *views))} SELECT count(*), max(edition) FROM moved"  # noqa: S608
        self._parameters = parameters

    async def _commit(self, placed: Placed, views: Views | None) -> None:
        assert views is None, "they are part of the statement"
        rows = [to_row(record, leaf) for record, leaf in zip(placed.records, placed.leaves, strict=True)]
        columns = [list(column) for column in zip(*rows, strict=True)]
        async with self._pool.acquire() as connection:
            await self._check_versions(connection, placed.to_check(self._newest))
            moved, edition = await connection.fetchrow(
                self._statement, *moved_columns(self.heads, placed), *columns, *self._parameters(placed.records)
            )
        if moved != len(placed.heads):
            raise Fenced("another writer has taken over these partitions")
        for partition, head in placed.heads.items():
            placed.heads[partition] = msgspec.structs.replace(head, edition=edition)
