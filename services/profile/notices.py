"""Publishes PROFILE: per partition, which customers changed and up to which position. No personal data.

Nothing is kept for it: the last notice in the stream tells what was published, the log tells the rest. A notice that was
committed but not published before a crash follows at the next start. What was committed just now needn't be read back from the log.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

import nats.js.errors
from nats.aio.client import Client
from nats.js.api import Header

from services.profile.tables.rulebook import RULES_STREAM
from shared import faults, telemetry, tracing
from shared.bus.connection import BROKER_DOWN, REQUEST_TIMEOUT_S, ensure_stream
from shared.events.wire import PROFILE_STREAM, Notice, decode_notice, encode
from shared.log import LogReader, Record
from shared.store.pool import DOWN as STORE_DOWN
from shared.waiting import wait_for_news

PAGE_EVENTS = 2_000  # a notice covers at most so many
KEPT_NOTICES = 100_000  # of a partition; the last one must never age, it is where this goes on from
RETRY_S = 0.3
WAIT_S = 5.0
GATHERING_S = 0.5  # behind a notice: what changes meanwhile is told by one. Who needs it sooner asks a read to be as fresh

TOLD_EVENTS = 4 * PAGE_EVENTS  # in memory, of each partition; what is further behind is read from the log

log = telemetry.logger("notices")
Changes = Sequence[tuple[int, bytes]]  # (position, stream), in order


class Newest:
    """The newest events of a partition, one behind the other, as they were committed."""

    def __init__(self) -> None:
        self._changes: deque[tuple[int, bytes]] = deque()

    def add(self, changes: Changes) -> None:
        if self._changes and changes and changes[0][0] != self._changes[-1][0] + 1:
            self._changes.clear()
        self._changes.extend(changes)
        while len(self._changes) > TOLD_EVENTS:
            self._changes.popleft()

    def page(self, first: int) -> list[tuple[int, bytes]]:
        """From position `first` on; nothing where the log has to be asked. Those before are forgotten."""
        while self._changes and self._changes[0][0] < first:
            self._changes.popleft()
        if not self._changes or self._changes[0][0] > first:
            return []
        return list(islice(self._changes, PAGE_EVENTS))


class Notices:
    """One publisher a partition. `tell` says what was committed."""

    def __init__(self, client: Client, reader: LogReader, partition: int) -> None:
        self._context = client.jetstream(timeout=REQUEST_TIMEOUT_S)
        self._client = client
        self._reader = reader
        self._partition = partition
        self._subject = f"{PROFILE_STREAM}.{partition}"
        self._news = asyncio.Event()
        self._newest = Newest()
        self._traces: tracing.Traces = ()

    def tell(self, changes: Changes) -> None:
        self._newest.add(changes)
        if traces := tracing.carried():
            self._traces = tracing.together((self._traces, traces))
        self._news.set()

    async def run(self) -> None:
        while True:
            try:
                await self._catch_up()
            except (*BROKER_DOWN, *STORE_DOWN, nats.js.errors.APIError) as error:
                log.warning("cannot publish yet", subject=self._subject, error=type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _catch_up(self) -> None:
        await ensure_stream(
            self._client, PROFILE_STREAM, 1, subject=f"{PROFILE_STREAM}.*", max_age_s=None, max_per_subject=KEPT_NOTICES
        )
        next_pos, sequence = await self._published()
        while True:
            self._news.clear()
            traces, self._traces = self._traces, ()
            changes = self._newest.page(next_pos) or await self._reader.changes(self._partition, next_pos, PAGE_EVENTS)
            if changes:
                with tracing.stage("publish PROFILE", traces, customers=len(changes)):
                    next_pos, sequence = await self._publish(next_pos, changes, sequence)
            if len(changes) < PAGE_EVENTS:
                await asyncio.sleep(GATHERING_S if changes else 0)
                await wait_for_news(self._news, WAIT_S)

    async def _publish(self, first: int, changes: Sequence[tuple[int, bytes]], after: int) -> tuple[int, int]:
        """The position to go on from, and the stream sequence of the notice; `after` is that of the last one."""
        notice = Notice(self._partition, first, changes[-1][0], sorted({stream for _, stream in changes} - {RULES_STREAM}))
        headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(after)} | tracing.to_headers(tracing.carried())
        faults.reach(faults.BEFORE_PUBLISH)
        acknowledged = await self._context.publish(self._subject, encode(notice), headers=headers)
        faults.reach(faults.AFTER_PUBLISH)
        return notice.last + 1, acknowledged.seq

    async def _published(self) -> tuple[int, int]:
        """The position to go on from, and the stream sequence of the last notice."""
        try:
            message: Any = await self._context.get_last_msg(PROFILE_STREAM, self._subject)
        except nats.js.errors.NotFoundError:
            return 0, 0
        return decode_notice(message.data).last + 1, message.seq


def tell_each(notices: Sequence[Notices], records: Sequence[Record]) -> None:
    """The publisher of each partition of what was committed in it."""
    changes: dict[int, list[tuple[int, bytes]]] = {}
    for record in records:
        changes.setdefault(record.partition, []).append((record.pos, record.entry.stream))
    for partition, some in changes.items():
        notices[partition].tell(some)
