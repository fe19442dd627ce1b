"""What events say of a person's choice becomes signals, as far as it is news. Table `standing`: what stands, in each voice."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec

from services.consent.domain.receiving import ReceiveSignal
from services.consent.domain.standing import Instant, Run, Voice, hear
from services.consent.receiving import Receiver
from shared.errors import CustomerError, Fenced
from shared.events.catalogue import encode
from shared.events.said import unseal
from shared.events.wire import Statement
from shared.instants import Clock
from shared.pieces import AT_ONCE, Pieces
from shared.poison import Halted
from shared.telemetry import SIGNALS_REFUSED, logger
from shared.vault.envelope import DataKey, EnvelopeBroken

RECORDED_AT_ONCE: Final = 500  # signals in a transaction: each may have dozens of decisions
CLAIMS_AT_MOST: Final = 5
SEALED_AS: Final = b"standing"

log = logger("consent")
_decode_run = msgspec.msgpack.Decoder(Run).decode


class Heard:
    """What stands after it; saved in the transaction that says up to where CUSTOMER was heard."""

    def __init__(self, runs: dict[Voice, Run], key: DataKey) -> None:
        self._runs = runs
        self._key = key

    async def save(self, connection: Any) -> None:
        if not self._runs:
            return
        ordered = sorted(self._runs.items())
        await connection.execute(
            """INSERT INTO standing (value_hash, source, kind, run) SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[])
               ON CONFLICT (value_hash, source, kind) DO UPDATE SET run = excluded.run""",
            [voice.identifier_hash for voice, _ in ordered],
            [voice.source for voice, _ in ordered],
            [voice.kind for voice, _ in ordered],
            [self._key.seal(encode(run), SEALED_AS + voice.identifier_hash) for voice, run in ordered],
        )


class Hearing:
    """`ready` is set when the ready definitions are there: what events say is read by one of them."""

    def __init__(self, pool: Any, receiver: Receiver, ready: asyncio.Event, key: DataKey, clock: Clock) -> None:
        self._pool = pool
        self._receiver = receiver
        self._ready = ready
        self._key = key
        self._clock = clock

    async def hear(self, sealed: Sequence[bytes]) -> Heard:
        """Records what is news. Raises Halted (STATEMENT_UNREADABLE): a withdrawal may stand there, so no check could be trusted."""
        if not sealed:
            return Heard({}, self._key)
        try:
            statements = unseal(sealed, self._key)
        except (EnvelopeBroken, msgspec.DecodeError):
            raise Halted("what events say of people's choices can't be opened", "STATEMENT_UNREADABLE") from None
        await self._ready.wait()
        runs = await self._runs({voice for one in statements for voice, _ in _said(one)})
        news, pieces = list[ReceiveSignal](), Pieces(AT_ONCE)
        for one in statements:
            for voice, said in _said(one):
                runs[voice], instants = hear(runs.get(voice), said)
                news += [self._command(one, voice, instant, number) for number, instant in enumerate(instants)]
            await pieces.done(1)
        await self._record(news)
        return Heard(runs, self._key)

    async def _record(self, news: Sequence[ReceiveSignal]) -> None:
        for first in range(0, len(news), RECORDED_AT_ONCE):
            refused = await self._receive(news[first : first + RECORDED_AT_ONCE])
            for reason, count in Counter(error.reason for error in refused).items():
                SIGNALS_REFUSED.labels(reason).inc(count)

    async def _receive(self, news: Sequence[ReceiveSignal]) -> list[CustomerError]:
        """Raises Fenced: another process takes the log over again and again."""
        for _ in range(CLAIMS_AT_MOST - 1):
            try:
                return await self._receiver.receive_all(news)
            except Fenced:
                log.warning("another process wrote the consent log; claiming it again")
        return await self._receiver.receive_all(news)

    def _command(self, one: Statement, voice: Voice, said: Instant, number: int) -> ReceiveSignal:
        """Its request id is of the event: heard again, it is the same."""
        return ReceiveSignal(
            request_id=f"{one.event_id.hex()}:{voice.kind}:{number}",
            identifier_hash=voice.identifier_hash,
            namespace=one.namespace,
            kind=voice.kind,
            text=said.text,
            happened_at=min(said.at, self._clock()),
            source=voice.source,
            method="event",
        )

    async def _runs(self, voices: Collection[Voice]) -> dict[Voice, Run]:
        rows = await self._pool.fetch(
            """SELECT value_hash, source, kind, run FROM standing JOIN unnest($1::bytea[], $2::text[], $3::text[])
               AS asked (value_hash, source, kind) USING (value_hash, source, kind)""",
            [voice.identifier_hash for voice in voices],
            [voice.source for voice in voices],
            [voice.kind for voice in voices],
        )
        try:
            return {
                Voice(row["value_hash"], row["source"], row["kind"]): _decode_run(
                    self._key.open(row["run"], SEALED_AS + row["value_hash"])
                )
                for row in rows
            }
        except (EnvelopeBroken, msgspec.DecodeError):
            raise Halted("what stands of people's choices can't be opened", "STATEMENT_UNREADABLE") from None


def _said(one: Statement) -> Iterator[tuple[Voice, Instant]]:
    return ((Voice(one.identifier_hash, one.source, kind), Instant(one.happened_at, text)) for kind, text in one.signals)
