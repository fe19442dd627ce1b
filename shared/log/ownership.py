"""Which of the processes of a service owns its log: a lease in the service's own database, by the database's clock.

It keeps processes from taking the log from each other while its owner is well, and gives it to another one when that is gone. What
keeps a process from writing that believes in its lease for too long is the epoch of the heads (`takeover.py`): the lease is for
calm, the epoch for truth. A process that is started anew where its predecessor was has its predecessor's name, and its lease.
"""

import asyncio
from typing import Any

from shared.errors import Fenced
from shared.store.pool import DOWN, open_pool
from shared.telemetry import STANDING_BY, WRITERS_FENCED, logger

LEASE_S = 6.0  # with a look and a start this is less than the ten seconds in which another one has to have taken over
RENEW_S = 2.0  # two may be missed
LOOK_S = 0.5  # so often those look that stand by
STATEMENT_S = 2.0

# One statement and a transaction of its own, so that of several that ask at once one gets it. Of a lease nothing is taken but what has run
# out, by one clock: when the statement came, which is early, for who waits behind another one as for who has it.
TAKE = """
    INSERT INTO log_owners AS held (partition, owner, until) VALUES (0, $1, now() + $2 * interval '1 second')
    ON CONFLICT (partition) DO UPDATE SET owner = excluded.owner, until = now() + $2 * interval '1 second'
    WHERE held.owner = excluded.owner OR held.until < now()
    RETURNING owner"""
GIVE_UP = "UPDATE log_owners SET until = now() WHERE partition = 0 AND owner = $1"
FENCED = "another writer has taken over these partitions"

log = logger("ownership")


async def open_ownership(database_url: str, schema: str, replica: str) -> "Ownership":
    """Over a connection of its own: what the service does must not keep the lease waiting."""
    return Ownership(await open_pool(database_url, schema, STATEMENT_S, most=1), replica, schema)


class Ownership:
    """`take`, then `keep` in the background; `give_up` when nothing is written any more. `pool`'s search path names the schema.

    One lease stands for all partitions of a log: who owns them writes them together, as one unit.
    """

    def __init__(self, pool: Any, replica: str, service: str) -> None:
        self._pool = pool
        self._replica = replica
        self._standing_by = STANDING_BY.labels(service)

    async def take(self) -> None:
        """Returns when this process owns the log; stands by until then."""
        standing_by = False
        while not await self._has_taken():
            if not standing_by:
                log.info("standing by: another process owns the log")
                self._standing_by.set(1)
                standing_by = True
            await asyncio.sleep(LOOK_S)
        self._standing_by.set(0)
        if standing_by:
            log.info("took the log over")

    async def keep(self) -> None:
        """Never ends. Raises Fenced when another process owns the log: this one leaves, and stands by when it is started again."""
        while True:
            await asyncio.sleep(RENEW_S)
            if not await self._has_taken(unsure=True):
                WRITERS_FENCED.inc()
                raise Fenced(FENCED)

    async def confirm(self) -> None:
        """Raises Fenced when that this process owns the log can't be confirmed."""
        if not await self._has_taken():
            raise Fenced(FENCED)

    async def give_up(self) -> None:
        """Another one takes over at its next look, without waiting for the lease to run out."""
        try:
            await self._pool.execute(GIVE_UP, self._replica)
        except DOWN as error:
            log.warning("the lease has to run out", error=type(error).__name__)
        await self._pool.close()

    async def _has_taken(self, *, unsure: bool = False) -> bool:
        """What it is `unsure`, while the database is away; nobody else can take it then either."""
        try:
            return await self._pool.fetchval(TAKE, self._replica, LEASE_S) is not None
        except DOWN as error:
            log.warning("can't look at the lease of the log", error=type(error).__name__)
            return unsure
