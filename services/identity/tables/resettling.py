"""Table `resettling`: how far the graph follows the rules that were activated last."""

from typing import Any

import msgspec

from services.identity.graph.difference import Difference


class Resettling(msgspec.Struct, frozen=True, kw_only=True):
    """`settled_to` is the last value hash that is settled, and the counts are of what that came to so far."""

    version: int
    settled_to: bytes = b""
    identifiers: int = 0
    merges: int = 0
    splits: int = 0
    links: int = 0
    unlinks: int = 0

    def after(self, page: list[bytes], changed: Difference) -> "Resettling":
        return Resettling(
            version=self.version,
            settled_to=page[-1],
            identifiers=self.identifiers + len(page),
            merges=self.merges + changed.merges,
            splits=self.splits + changed.splits,
            links=self.links + changed.links,
            unlinks=self.unlinks + changed.unlinks,
        )


async def under_way(pool: Any) -> Resettling | None:
    row = await pool.fetchrow(f"SELECT {', '.join(Resettling.__struct_fields__)} FROM resettling")  # noqa: S608
    return Resettling(**dict(row)) if row else None


async def begin(connection: Any, version: int) -> None:
    """What was under way for older rules ends here."""
    await end(connection)
    await save(connection, Resettling(version=version))


async def end(connection: Any) -> None:
    await connection.execute("DELETE FROM resettling")


async def save(connection: Any, resettling: Resettling) -> None:
    await connection.execute(
        """INSERT INTO resettling (version, settled_to, identifiers, merges, splits, links, unlinks)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (version) DO UPDATE
           SET settled_to = excluded.settled_to, identifiers = excluded.identifiers, merges = excluded.merges,
               splits = excluded.splits, links = excluded.links, unlinks = excluded.unlinks""",
        *msgspec.structs.astuple(resettling),
    )


async def page_after(pool: Any, settled_to: bytes, size: int) -> list[bytes]:
    """Value hashes, in their order."""
    rows = await pool.fetch(
        "SELECT value_hash FROM identifiers WHERE value_hash > $1 ORDER BY value_hash LIMIT $2", settled_to, size
    )
    return [row["value_hash"] for row in rows]


async def count(pool: Any) -> int:
    """Of all identifiers."""
    found: int = await pool.fetchval("SELECT count(*) FROM identifiers")
    return found
