"""Keeps snapshots of long streams as their logs grow, behind what is applied: so the first read of the past finds them.

Whoever records gives each state at a version at which one is due; nothing is folded again for it. What is lost, by a kill or for want of
room, is folded once nothing waits, when the next of that stream is due.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.profile.domain.rules import PLAIN, Keeping
from services.profile.failures import OF_OTHERS, note
from services.profile.tables.history import History
from services.profile.tables.snapshots import Due, Snapshot
from shared.vault import Vault

WAITING_BYTES: Final = 32 * 1024 * 1024  # of states: what is more is folded later
WAITING_STREAMS: Final = 10_000  # which would have to be folded: of more a read of the past does it
KEPT_AT_ONCE_BYTES: Final = 1024 * 1024  # of one statement, which whoever records that customer waits for


class Snapshotter:
    def __init__(self, history: History, vault: Vault) -> None:
        self._history = history
        self.is_due = history.snapshots.is_due
        self._vault = vault
        self._keeping: Keeping = PLAIN
        self._waiting: dict[bytes, list[Due]] = {}
        self._bytes = 0
        self._incomplete: dict[bytes, None] = {}
        self._news = asyncio.Event()

    def take(self, due: Sequence[Due], keeping: Keeping) -> None:
        """What is committed by now, of a fold that keeps this."""
        if keeping != self._keeping:
            self._keeping, self._bytes = keeping, 0
            self._waiting.clear()
            self._incomplete.clear()
        for one in due:
            if self._bytes + len(one.state) <= WAITING_BYTES:
                self._waiting.setdefault(one.stream, []).append(one)
                self._bytes += len(one.state)
            elif len(self._incomplete) < WAITING_STREAMS:
                self._incomplete[one.stream] = None
        if due:
            self._news.set()

    async def run(self) -> None:
        """Never returns; raises when a server is down."""
        while True:
            self._news.clear()
            if not await self.step():
                await self._news.wait()

    async def step(self) -> bool:
        """Of one stream. Whether there was any."""
        keeping = self._keeping
        if self._waiting:
            stream = next(iter(self._waiting))
            due = self._waiting.pop(stream)
            self._bytes -= sum(len(one.state) for one in due)
        elif self._incomplete:
            stream, due = next(iter(self._incomplete)), []
            del self._incomplete[stream]
        else:
            return False
        try:
            await self._keep(stream, due, keeping)
        except OF_OTHERS:
            raise
        except Exception as error:
            note(stream, "snapshot", error)
        return True

    async def _keep(self, stream: bytes, due: Sequence[Due], keeping: Keeping) -> None:
        history, key = self._history.of(keeping), (await self._vault.keys([stream])).get(stream)
        if key is None:
            return
        if not due:
            await history.states([stream])
            return
        snapshots = history.snapshots
        if (marks := await snapshots.next_marks(stream, [one.version for one in due])) is None:
            self._incomplete[stream] = None
            return
        states, taken, size_bytes = {one.version: one.state for one in due}, list[Snapshot](), 0
        for mark in marks:
            taken.append(snapshots.seal(states[mark.version], mark, key))
            size_bytes += len(taken[-1].envelope)
            if size_bytes >= KEPT_AT_ONCE_BYTES:
                await snapshots.keep(taken)
                taken, size_bytes = [], 0
        await snapshots.keep(taken)
