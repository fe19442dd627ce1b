"""Proofs: what the tree costs a writer, and what a proof costs at a million events."""

import hashlib
import random
import time
from typing import Any

import asyncpg

from benchmarks.harness import Result, at_most, timed
from services.stack.stack import Stack
from shared.events.catalogue import Entry
from shared.log import merkle
from shared.log.prover import Prover
from shared.log.records import leaf_of
from shared.store.pool import open_pool
from tests.emptying import empty_log

SIZE = 1_000_000
BATCH = 500
PROOFS = 200
ROUNDS = 20
LIMIT_MS = 5.0

# Rows as wide as those of real events, so that they fill as many pages.
FILL = """INSERT INTO events
          SELECT 0, n, decode(md5(n::text), 'hex'), 1, decode(md5(n::text), 'hex'), 'customer.tracked', 1, n, n,
                 decode(repeat('00', 60), 'hex'), decode(repeat('00', 300), 'hex'), sha256(int8send(n))
          FROM generate_series(0, $1::int8 - 1) AS n"""


async def measure(servers: Stack) -> list[Result]:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360", server_settings={"search_path": "profile"})
    root = await _fill(admin)
    await admin.close()
    pool = await open_pool(servers.environment_of("profile")["C360_DATABASE_URL"], "profile")
    prover, chance = Prover(pool), random.Random(1)
    inclusions = [await _inclusion(prover, chance.randrange(SIZE), root) for _ in range(PROOFS)]
    consistencies = [1_000 * await timed(prover.consistency(0, chance.randrange(1, SIZE), SIZE)) for _ in range(PROOFS)]
    page = sorted(chance.sample(range(SIZE), BATCH))
    pages = [1_000 * await timed(prover.inclusions(0, page, SIZE)) / BATCH for _ in range(5)]
    await pool.close()
    return [
        at_most("inclusion proof at 1,000,000", inclusions, "ms", LIMIT_MS),
        at_most("consistency proof", consistencies, "ms", LIMIT_MS),
        at_most("inclusion proof, 500 a call", pages, "ms", LIMIT_MS),
        Result(name="leaf of an event", value=min(leaves := _leaf_costs()), unit="us", samples=leaves),
        Result(name="tree, a leaf", value=min(trees := _tree_costs()), unit="us", samples=trees),
    ]


async def _fill(admin: Any) -> bytes:
    """A partition as if a million events had been appended; returns its root."""
    await empty_log(admin, "profile")
    await admin.execute(FILL, SIZE, timeout=600)
    leaves = [row["leaf"] for row in await admin.fetch("SELECT leaf FROM events ORDER BY pos")]
    frontier, nodes = merkle.append(0, (), leaves)
    await admin.copy_records_to_table("merkle_nodes", records=[(0, *node) for node in nodes])
    await admin.execute(
        "UPDATE partition_heads SET next_pos = $1, merkle_frontier = $2 WHERE partition = 0", SIZE, merkle.pack(frontier)
    )
    await admin.execute("VACUUM ANALYZE events, merkle_nodes")
    return merkle.root_of(frontier)


async def _inclusion(prover: Prover, position: int, root: bytes) -> float:
    """Milliseconds; the proof is verified outside of them."""
    started = time.perf_counter()
    [path] = await prover.inclusions(0, [position], SIZE)
    elapsed_ms = 1_000 * (time.perf_counter() - started)
    leaf = hashlib.sha256(position.to_bytes(8)).digest()  # as FILL makes it
    assert merkle.verify_inclusion(leaf, position, SIZE, path, root)
    return elapsed_ms


def _leaf_costs() -> list[float]:
    """Microseconds an event, batch by batch."""
    entry = Entry(bytes(16), bytes(16), "customer.tracked", 1, 1, b"h" * 60, b"e" * 300)
    return [_microseconds(lambda: [leaf_of(entry, version, 1) for version in range(BATCH)]) for _ in range(ROUNDS)]


def _tree_costs() -> list[float]:
    frontier = merkle.append(0, (), [bytes(32)] * 12_345)[0]
    return [_microseconds(lambda: merkle.append(12_345, frontier, [bytes(32)] * BATCH)) for _ in range(ROUNDS)]


def _microseconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - started) / BATCH
