"""What is known by an instant stays the same afterwards: only the process that owns a log can promise that, since it alone knows what it
is about to record. Who stands by and answers reads asks it.

A core message: where nobody owns the log nobody answers. A process that has lost the log and doesn't know it yet promises nothing: it says by which
epoch of the heads it owned them, and whoever asks looks afterwards whether that is still the one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.bus.connection import BROKER_DOWN
from shared.errors import Unavailable
from shared.log.writer import Head

ANSWER_S: Final = 2.0  # a unit that is under way has to be committed first
EPOCH: Final = "SELECT max(owner_epoch) FROM partition_heads WHERE partition = ANY($1::int4[])"
QUESTIONS_WAITING: Final = 1_000  # more are dropped, and who asked is told to ask again

Settle = Callable[[int], Awaitable[int]]


class Settled(msgspec.Struct, frozen=True):
    """Nothing will be recorded at the instant or before it by whoever owns the log with this epoch."""

    instant: int
    epoch: int


encode = msgspec.msgpack.Encoder().encode
decode_instant = msgspec.msgpack.Decoder(int).decode
decode_settled = msgspec.msgpack.Decoder(Settled).decode


async def answer_settling(client: Client, log: str, settle: Settle, heads: Callable[[], Mapping[int, Head]]) -> None:
    """By whoever owns the log; before it has claimed the heads it promises nothing. Never returns."""

    async def on_question(message: Msg) -> None:
        if owned := heads():
            instant = await settle(decode_instant(message.data))
            await message.respond(encode(Settled(instant, max(head.owner_epoch for head in owned.values()))))

    subscription = await client.subscribe(_subject(log), cb=on_question, pending_msgs_limit=QUESTIONS_WAITING)
    try:
        await asyncio.Event().wait()
    finally:
        await subscription.unsubscribe()


class AskedOfTheOwner:
    """`settle` of a process that stands by. `pool`'s search path names the schema of the log."""

    def __init__(self, client: Client, log: str, pool: Any, partitions: Iterable[int]) -> None:
        self._client = client
        self._subject = _subject(log)
        self._pool = pool
        self._partitions = list(partitions)

    async def settle(self, known_at: int) -> int:
        """As `LogWriter.settle`; what was recorded by then can be read. Raises Unavailable (STANDBY)."""
        try:
            message = await self._client.request(self._subject, encode(known_at), timeout=ANSWER_S)
        except BROKER_DOWN:
            raise _nobody() from None
        settled = decode_settled(message.data)
        if await self._pool.fetchval(EPOCH, self._partitions) != settled.epoch:
            raise _nobody()
        return settled.instant


def _nobody() -> Unavailable:
    return Unavailable("nobody owns the log at this moment, who could say what is known by then; ask again", reason="STANDBY")


def _subject(log: str) -> str:
    return f"c360.settle.{log}"
