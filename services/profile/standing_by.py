"""What a process of profile does while another one owns the log: it answers reads from the tables that the owner writes, each written down
before it is answered, and goes by each withdrawal before that is answered, by a lease of its own.
"""

import asyncio
from typing import Any, Final

from nats.aio.client import Client

from services.profile.composition import Parts
from services.profile.disclosed import Disclosed
from services.profile.steady import known
from shared import health
from shared.bus.settling import AskedOfTheOwner
from shared.log.ownership import Ownership
from shared.process import keep_going
from shared.rpc import RpcServer
from shared.waiting import end

ANSWERED: Final = (
    *(
        f"/c360.profile.v1.ProfileService/{name}"
        for name in ("GetProfile", "BatchGetProfiles", "LookupCustomer", "ListIdentifiers", "ListMembers", "GetTimeline")
    ),
    *(f"/c360.profile.v1.HistoryService/{name}" for name in ("DiffProfile", "ListProfileChanges")),
)


async def stand_by(ownership: Ownership, server: RpcServer, client: Client, pool: Any, parts: Parts, disclosed: Disclosed) -> None:
    """Until this process owns the log, and has claimed it: nobody else writes it from there on, and nothing is kept of what was before."""
    own, asked = parts.profiles.settle, AskedOfTheOwner(client, "profile", pool, parts.recorder.writer.partitions)

    async def settle(known_at: int) -> int:
        instant = await asked.settle(known_at)
        await parts.keeping_up.look()  # whatever was recorded by then is followed
        return instant

    async def become_ready() -> None:
        await parts.consent.informed.wait()
        await server.set_answering(health.READS)

    async def claim() -> None:
        await parts.recorder.load()

    beside = (keep_going("keep up with the owner", parts.keeping_up.run), become_ready())
    tasks = [asyncio.create_task(work) for work in beside]
    parts.profiles.settle = settle
    disclosed.confirm_by(parts.keeping_up.look)
    try:
        await ownership.take()
        await keep_going("take the log over", claim)
    except asyncio.CancelledError:  # it is stopped: calls that are under way are answered
        await server.stop()
        raise
    finally:
        await end(tasks)
        disclosed.confirm_by(known)
        parts.profiles.settle = own
