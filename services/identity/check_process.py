"""The process in which one check runs; `checks` starts it, tells it what to do, and hears it.

What it does, it does to copies, on connections of its own that only read. It gives way to whoever answers: somebody waits for it anyway.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from services.identity.checks import JOBS, LENGTH_BYTES, Job, Looked, Refused, framed
from services.identity.model_simulating import ModelSimulation
from services.identity.simulating import Progress, Simulation
from services.identity.tables import modelbook
from shared.errors import TooLarge
from shared.ids import id_maker
from shared.instants import now_us
from shared.logs import start_logging
from shared.store.pool import open_pool
from shared.telemetry import logger
from shared.vault import FileKeyring, Vault

NICENESS = 10  # of 19: a quarter of what others get who want the core too
STATEMENT_TIMEOUT_S = 300.0  # a page is loaded while everybody else is served first

log = logger("checks")


async def check(job: Job) -> None:
    pool = await open_pool(job.database_url, "identity", STATEMENT_TIMEOUT_S)
    vault_pool = await open_pool(job.vault_url, "vault") if job.model else None
    try:
        if vault_pool is None:
            pages = Simulation(pool, id_maker(now_us)).rules(job.rules)
        else:
            vault = Vault(vault_pool, FileKeyring(Path(job.keyring_file)))
            simulation = ModelSimulation(pool, vault, id_maker(now_us), job.block_records)
            pages = simulation.run(modelbook.read(job.model), job.rules)
        await _tell_all(pages)
    finally:
        await asyncio.gather(*(one.close() for one in (pool, vault_pool) if one is not None))


async def _tell_all(pages: AsyncGenerator[Progress, None]) -> None:
    try:
        async with aclosing(pages):
            async for looked in pages:
                _tell(Looked(*looked))
    except TooLarge as error:
        _tell(Refused(error.message, error.reason, error.facts))


def _tell(message: Looked | Refused) -> None:
    """Waits for whoever hears it, who waits for nothing else here."""
    sys.stdout.buffer.write(framed(message))
    sys.stdout.buffer.flush()


def _end_with_who_asked() -> None:
    """Nothing more comes, so this ends when the other side is closed, however it ended."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> int:
    os.nice(NICENESS)
    start_logging("identity", "info")
    length = int.from_bytes(sys.stdin.buffer.read(LENGTH_BYTES), "big")
    job = JOBS.decode(sys.stdin.buffer.read(length))
    threading.Thread(target=_end_with_who_asked, daemon=True).start()
    try:
        asyncio.run(check(job))
    except Exception as error:
        log.error("a check ended early", exc_info=error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
