"""What a process of consent does while another one owns the log: it answers checks from the tables that the owner writes.

A decision is answered once it is committed, and each check is one statement: so whatever process is asked next goes by it.
"""

import asyncio
from typing import Any, Final

from nats.aio.client import Client

from services.consent.committed import look
from services.consent.follow import wait_caught_up
from services.consent.writing import CONSENT_PARTITION, ConsentLog
from shared import health
from shared.bus.callers import follow_callers
from shared.bus.settling import AskedOfTheOwner
from shared.committed import follow_committed
from shared.log.ownership import Ownership
from shared.positions import Progress
from shared.process import keep_going
from shared.rpc import RpcServer
from shared.waiting import end

ANSWERED: Final = (
    *(f"/c360.consent.v1.ConsentService/{name}" for name in ("Check", "CheckBatch", "FilterAudience", "ListDecisions")),
    "/c360.consent.v1.EvidenceService/ExplainCheck",
    "/c360.consent.v1.AskingService/CheckAskable",
)


async def stand_by(ownership: Ownership, server: RpcServer, client: Client, pool: Any, progress: Progress, log: ConsentLog) -> None:
    """Until this process owns the log."""

    async def become_ready() -> None:
        await wait_caught_up(client, progress)
        await server.set_answering(health.READS)

    beside = (
        keep_going("follow the callers", lambda: follow_callers(client, server.callers), server.halt),
        keep_going("follow what is committed", lambda: follow_committed(progress, lambda: look(pool, progress))),
        keep_going("become ready to answer checks", become_ready),
    )
    own, log.settle = log.settle, AskedOfTheOwner(client, "consent", pool, [CONSENT_PARTITION]).settle
    tasks = [asyncio.create_task(work) for work in beside]
    try:
        await ownership.take()
    finally:
        await end(tasks)
        log.settle = own
