"""What was seen together, without the identifiers that are erased: what else was seen there stays a fact of the others.

Its evidence stays the id of the event, also of one in a stream that is closed: an id is nothing personal, and says when.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from services.identity.graph.facts import Evidence
from services.identity.tables import alone
from services.identity.tables.regions import sighting_id


class Told(NamedTuple):
    """Evidence of a sighting, the earliest first, and when we knew of it."""

    occurred_at: int
    event_id: bytes
    source: str
    recorded_at: int


class Shrunk(NamedTuple):
    nodes: tuple[bytes, ...]
    component: bytes | None
    told: set[Told]


async def shrink(connection: Any, erased: Sequence[bytes]) -> dict[bytes, Evidence]:
    """Takes these out of every sighting; returns the hashes of all that they were seen with, and when they were first.

    What is left of several may be the same, or a sighting that is known: then the earliest evidence stands.
    """
    rows = await connection.fetch("DELETE FROM sightings WHERE nodes && $1::bytea[] RETURNING *", list(erased))
    former = await connection.fetch(
        "DELETE FROM superseded_evidence WHERE sighting_id = ANY($1::bytea[]) RETURNING *", [row["sighting_id"] for row in rows]
    )
    shrunk = without(erased, rows, former)
    known = await connection.fetch("SELECT * FROM sightings WHERE sighting_id = ANY($1::bytea[])", list(shrunk))
    for row in known:
        shrunk[row["sighting_id"]].told.add(_told(row))
    await _save(connection, shrunk)
    await alone.left(connection, left_alone(erased, rows, former))
    met: dict[bytes, Evidence] = {}
    for row in rows:
        evidence = Evidence(row["occurred_at"], row["event_id"])
        for value_hash in set(row["nodes"]) - set(erased):
            met[value_hash] = min(evidence, met.get(value_hash, evidence))
    return met


def without(erased: Collection[bytes], rows: Iterable[Any], former: Iterable[Any]) -> dict[bytes, Shrunk]:
    """By sighting id; one identifier alone is no fact."""
    gone, told = set(erased), defaultdict[bytes, set[Told]](set)
    for row in former:
        told[row["sighting_id"]].add(_told(row))
    shrunk: dict[bytes, Shrunk] = {}
    for row in rows:
        left = tuple(sorted(set(row["nodes"]) - gone))
        if len(left) > 1:
            found = shrunk.setdefault(sighting_id(left), Shrunk(left, row["component"], set()))
            found.told.update(told[row["sighting_id"]], [_told(row)])
    return shrunk


def left_alone(erased: Collection[bytes], rows: Iterable[Any], former: Iterable[Any]) -> list[tuple[bytes, int, int]]:
    """What is left by itself, when it was seen, and since when that was known."""
    single = {row["sighting_id"]: rest.pop() for row in rows if len(rest := set(row["nodes"]).difference(erased)) == 1}
    told = [row for row in (*rows, *former) if row["sighting_id"] in single]
    return [(single[row["sighting_id"]], row["occurred_at"], row["recorded_at"]) for row in told]


async def _save(connection: Any, shrunk: Mapping[bytes, Shrunk]) -> None:
    await connection.executemany(
        """INSERT INTO sightings (sighting_id, nodes, component, occurred_at, event_id, source, recorded_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (sighting_id) DO UPDATE SET occurred_at = excluded.occurred_at, event_id = excluded.event_id,
               source = excluded.source, recorded_at = excluded.recorded_at""",
        [(found, left.nodes, left.component, *min(left.told)) for found, left in shrunk.items()],
    )
    await connection.executemany(
        """INSERT INTO superseded_evidence AS known (sighting_id, occurred_at, event_id, source, recorded_at)
           VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (sighting_id, recorded_at) DO UPDATE
           SET occurred_at = excluded.occurred_at, event_id = excluded.event_id, source = excluded.source
           WHERE (excluded.occurred_at, excluded.event_id) < (known.occurred_at, known.event_id)""",
        [(found, *told) for found, left in shrunk.items() for told in sorted(left.told - {min(left.told)})],
    )


def _told(row: Any) -> Told:
    return Told(row["occurred_at"], row["event_id"], row["source"], row["recorded_at"])
