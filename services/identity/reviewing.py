"""The review queue: what becomes of proposals. open -> accepted, declined, expired or withdrawn."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from services.identity.domain.decision import Decision
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.tables import bounds, erasures, views
from services.identity.tables.views import ProposalRow
from shared.errors import NotFound, WrongState
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import NewId, to_text
from shared.instants import DAY, Clock
from shared.log import Record
from shared.log.writer import Versioned

LOOK_S = 3600.0  # how often to look for what has expired
PAGE_PROPOSALS = 500  # a transaction
MAX_OTHERS = 100  # customers that an erasure names as proposed to be the same person


async def open_proposal(pool: Any, proposal_id: bytes, answered: Decision | None = None) -> ProposalRow:
    """`answered` is the decision that may have closed it. Raises NotFound (PROPOSAL_UNKNOWN), WrongState (PROPOSAL_CLOSED)."""
    found = await views.proposal(pool, proposal_id)
    if found is None:
        raise NotFound("no proposal has this id", reason="PROPOSAL_UNKNOWN", proposal_id=to_text(proposal_id))
    if found.state != "open" and (answered is None or found.decision_id != answered.decision_id):
        raise WrongState("this proposal is closed", reason="PROPOSAL_CLOSED", proposal_id=to_text(proposal_id), state=found.state)
    return found


def closing(
    proposal_id: bytes,
    one: bytes,
    other: bytes,
    state: events.ProposalEnd,
    at: int,
    new_id: NewId,
    cause: bytes = b"",
    decision_id: bytes = b"",
) -> list[Entry]:
    """For the streams of both customers."""
    told = []
    for stream, end in ((one, other), (other, one)):
        public = events.ProposalClosed(proposal_id=proposal_id, other=end, state=state, decision_id=decision_id, cause=cause)
        told.append(make_entry(events.PROPOSAL_CLOSED, stream, new_id(), at, public))
    return told


def withdrawn(proposals: Sequence[ProposalRow], gone: Collection[bytes], at: int, new_id: NewId) -> list[Entry]:
    """Told to those that were to be merged with who is erased, and stay."""
    ends = [(one.proposal_id, one.customer, one.other) for one in proposals]
    entries = [entry for asked in ends for entry in closing(*asked, "withdrawn", at, new_id)]
    return [entry for entry in entries if entry.stream not in gone]


def others(proposals: Sequence[ProposalRow], gone: Collection[bytes]) -> tuple[bytes, ...]:
    """Who was proposed to be one with who is erased, and stays; of the oldest proposals first, at most MAX_OTHERS."""
    ends = dict.fromkeys(end for one in proposals for end in (one.customer, one.other))
    return tuple(end for end in ends if end not in gone)[:MAX_OTHERS]


class Expiry:
    """Closes what nobody decided in time. It rests until one of its two is seen again (`graph/resting`).

    Something else may speak for the same two customers, by others of what people joined: that is asked behind it (`settling`).
    """

    def __init__(self, pool: Any, ledger: Ledger, days: int, clock: Clock, new_id: NewId, tell_behind: Callable[[], None]) -> None:
        self._pool = pool
        self._ledger = ledger
        self._days = days
        self._clock = clock
        self._new_id = new_id
        self._tell_behind = tell_behind

    def expires_at(self, proposed_at: int) -> int:
        """From when on an open proposal is closed."""
        return proposed_at + self._days * DAY

    async def run(self) -> None:
        """Never returns; raises when a server is down."""
        while True:
            while await self.expire() == PAGE_PROPOSALS:
                pass
            await asyncio.sleep(LOOK_S)

    async def expire(self) -> int:
        """How many were closed; PAGE_PROPOSALS at most."""
        now = self._clock()
        if not await views.open_proposals_before(self._pool, now - self._days * DAY, 1):
            return 0
        async with self._ledger.turn():
            self._ledger.resting.tell()
            expired = await views.open_proposals_before(self._pool, now - self._days * DAY, PAGE_PROPOSALS)
            await self._close(expired, now)
        self._tell_behind()
        return len(expired)

    async def _close(self, expired: Sequence[ProposalRow], now: int) -> None:
        versions = await erasures.versions_of(self._pool, {end for one in expired for end in (one.customer, one.other)})
        own = []
        for one in expired:
            for entry in closing(one.proposal_id, one.customer, one.other, "expired", now, self._new_id):
                versions[entry.stream] += 1
                own.append(Versioned(IDENTITY_PARTITION, versions[entry.stream], entry))

        async def write_views(connection: Any, records: Sequence[Record]) -> None:
            await views.close_proposals(connection, dict.fromkeys((one.proposal_id for one in expired), b""), "expired", now)
            await bounds.leave(connection, {end for one in expired for end in (one.end_hash, one.other_end_hash)})
            await erasures.move_versions(connection, versions)

        await self._ledger.commit(own, [versioned.entry for versioned in own], write_views=write_views)
