"""What a process of profile does while another one owns the log: it answers reads from the tables that the owner writes, each written down
before it is answered, and goes by each withdrawal before that is answered, by a lease of its own.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from nats.aio.client import Client

from services.profile.composition import Parts
from services.profile.disclosed import Disclosed
from services.profile.ready import always
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

    async def take() -> None:
        await ownership.take()
        await keep_going("take the log over", claim)

    beside = (keep_going("keep up with the owner", parts.keeping_up.run), become_ready())
    tasks = [asyncio.create_task(work) for work in beside]
    parts.profiles.settle, parts.ready.is_told = settle, parts.keeping_up.is_recent
    disclosed.confirm_by(parts.keeping_up.look)
    try:
        await _unless_ended(take(), tasks[0])
    except asyncio.CancelledError:  # it is stopped: calls that are under way are answered
        await server.stop()
        raise
    finally:
        await end(tasks)
        disclosed.confirm_by(known)
        parts.profiles.settle, parts.ready.is_told = own, always


async def _unless_ended(work: Coroutine[Any, Any, None], following: asyncio.Task[None]) -> None:
    """Raises what ends `following`, which never returns: who can't follow must not go on answering."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task, following}, return_when=asyncio.FIRST_COMPLETED)
        (following if following.done() else task).result()
    finally:
        await end([task])
