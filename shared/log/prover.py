"""Makes proofs from what is stored: leaves in `events`, every 256th inner node in `merkle_nodes`.

Each proof needs a few blocks of 256 hashes, whatever the size of the log: two of leaves, two of each stored height.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from shared.errors import InvalidInput, LogDamaged
from shared.log import merkle
from shared.log.merkle import BLOCK_HEIGHT, BLOCK_LEAVES, HASH_BYTES, Range

MAX_POSITIONS = 500  # a call; they may need a block each, half a millisecond

LEAVES = """SELECT string_agg(leaf, ''::bytea ORDER BY pos) AS hashes, min(pos) AS first, max(pos) AS last
            FROM events WHERE partition = $1 AND pos >= $2 AND pos < $3"""
NODES = """SELECT string_agg(hash, ''::bytea ORDER BY number) AS hashes, min(number) AS first, max(number) AS last
           FROM merkle_nodes WHERE partition = $1 AND number >= $2 AND number < $3 AND height = $4"""


class Prover:
    """`pool`'s search path names the schema."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def inclusions(self, partition: int, positions: Sequence[int], size: int) -> list[list[bytes]]:
        """For each position its audit path in the tree of the first `size` events.

        Raises InvalidInput (TREE_SIZE_INVALID, POSITION_INVALID), LogDamaged when nodes are missing.
        """
        await self._check_size(partition, size)
        if len(positions) > MAX_POSITIONS or not all(0 <= position < size for position in positions):
            raise InvalidInput(
                f"up to {MAX_POSITIONS} positions, each below the tree size", reason="POSITION_INVALID", tree_size=size
            )
        return await self._roots(partition, [merkle.inclusion_path(position, size) for position in positions])

    async def consistency(self, partition: int, old: int, new: int) -> list[bytes]:
        """Raises InvalidInput (TREE_SIZE_INVALID), LogDamaged when nodes are missing."""
        await self._check_size(partition, new)
        if not 0 <= old <= new:
            raise InvalidInput("the older tree is not the larger one", reason="TREE_SIZE_INVALID", tree_size=new)
        [path] = await self._roots(partition, [merkle.consistency_path(old, new)])
        return path

    async def _check_size(self, partition: int, size: int) -> None:
        current = await self._pool.fetchval("SELECT next_pos FROM partition_heads WHERE partition = $1", partition)
        if current is None or not 0 <= size <= current:
            raise InvalidInput("this log never had such a tree", reason="TREE_SIZE_INVALID", partition=partition, tree_size=size)

    async def _roots(self, partition: int, paths: Sequence[Sequence[Range]]) -> list[list[bytes]]:
        blocks = await self._load(partition, {part for path in paths for part in path})

        def read(height: int, first: int, count: int) -> list[bytes]:
            block, offset = blocks[height, first // BLOCK_LEAVES], first % BLOCK_LEAVES
            if offset + count > len(block):
                raise LogDamaged("the log lacks nodes of its tree", partition=partition, height=height, number=first)
            return block[offset : offset + count]

        roots = {part: merkle.root_of_range(part, read) for part in {part for path in paths for part in path}}
        return [[roots[part] for part in path] for path in paths]

    async def _load(self, partition: int, parts: Iterable[Range]) -> dict[tuple[int, int], list[bytes]]:
        wanted = {(height, first // BLOCK_LEAVES) for part in parts for height, first, _ in merkle.stored_nodes(part)}
        async with self._pool.acquire() as connection:
            return {block: await _read_block(connection, partition, *block) for block in sorted(wanted)}


async def _read_block(connection: Any, partition: int, height: int, block: int) -> list[bytes]:
    first, end = block * BLOCK_LEAVES, (block + 1) * BLOCK_LEAVES
    assert height % BLOCK_HEIGHT == 0
    row = await (
        connection.fetchrow(NODES, partition, first, end, height) if height else connection.fetchrow(LEAVES, partition, first, end)
    )
    hashes = row["hashes"] or b""
    if hashes and (row["first"] != first or len(hashes) != HASH_BYTES * (row["last"] - first + 1)):
        raise LogDamaged("the log lacks nodes of its tree", partition=partition, height=height, number=first)
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
