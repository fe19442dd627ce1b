"""How identity knows that the other services have given up what they held of an erased customer.

They learn of the erasure from CUSTOMER, like of everything else. Identity then asks each of them; it answers when it has
applied the unit that told it, has dropped its copies of keys, and has looked again at what it can still read. A question
that nobody answers is asked again: the answer comes from tables, so it survives a restart.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, get_args

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.bus.connection import BROKER_DOWN
from shared.errors import NotFreshEnough
from shared.events.erasure import Policy, Purge, Remains
from shared.store.pool import DOWN as STORE_DOWN
from shared.telemetry import REPORTS_FAILED, logger

Participant = Literal["profile", "consent", "ingest"]
PARTICIPANTS: tuple[Participant, ...] = get_args(Participant)
ANSWER_S = 20.0  # to read a large customer's whole history again
QUESTIONS_WAITING = 100  # more are dropped, and asked again

log = logger("purging")


class Question(msgspec.Struct, frozen=True):
    """`policy` and `erased_at` say which events that name these identifiers may be taken from now on."""

    erasure_id: bytes
    streams: list[bytes]
    identifier_hashes: list[bytes]
    unit: int  # of CUSTOMER, that told of the erasure
    policy: Policy = "refuse"
    erased_at: int = 0  # in microseconds
    look: bool = False  # whether anything is there; nothing is given up. Only ingest is asked so


class Report(msgspec.Struct, frozen=True):
    """`kept` names what remains, and how many. A word that this release doesn't know is no report to it: it can't account for that."""

    purges: list[Purge]
    kept: dict[Remains, int] = {}


class ReportUnreadable(Exception):
    """A service of another release answered. Until both are of one release nothing is certified."""


encode = msgspec.msgpack.Encoder().encode
decode_question = msgspec.msgpack.Decoder(Question).decode
decode_report = msgspec.msgpack.Decoder(Report).decode


async def ask(client: Client, participant: Participant, question: Question) -> Report:
    """Raises one of BROKER_DOWN when there is no answer, ReportUnreadable."""
    answer = await client.request(_subject(participant), encode(question), timeout=ANSWER_S)
    try:
        return decode_report(answer.data)
    except msgspec.DecodeError as error:
        raise ReportUnreadable(f"what {participant} answered: {error}") from None


async def answer(client: Client, participant: Participant, report: Callable[[Question], Awaitable[Report]]) -> None:
    """Answers with what `report` returns. Never returns, whatever it is asked: who gets no answer asks again, and certifies nothing."""

    async def on_question(message: Msg) -> None:
        try:
            await message.respond(encode(await report(decode_question(message.data))))
        except (*STORE_DOWN, *BROKER_DOWN, NotFreshEnough) as error:
            log.warning("cannot report on an erasure yet", error=type(error).__name__)
        except Exception as error:
            REPORTS_FAILED.inc()
            log.error("cannot report on an erasure", exc_info=error)

    subscription = await client.subscribe(_subject(participant), cb=on_question, pending_msgs_limit=QUESTIONS_WAITING)
    try:
        await asyncio.Event().wait()
    finally:
        await subscription.unsubscribe()


def _subject(participant: Participant) -> str:
    return f"c360.erasure.{participant}"
