"""Many people in one call, and audiences of any size: each with a result, in the order asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from c360.common.v1.common_pb2 import CustomerRef
from c360.consent.v1 import consent_pb2 as pb

from services.consent.api.asking import asked_instant
from services.consent.checking import ByIdentifier, Checked, Checks, Named
from shared import identifiers
from shared.errors import CustomerError, DeadlineExceeded, InvalidInput, LimitExceeded
from shared.pieces import Pieces
from shared.positions import Progress
from shared.rpc.edge import freshness, named_customer
from shared.rpc.sending import Running, taken_in_time
from shared.rpc.server import DEFAULT_DEADLINE_S

T = TypeVar("T")
M = TypeVar("M")
CUSTOMERS_AT_MOST = 1_000  # of a batch
NAMED_AT_ONCE = 50  # an address that wasn't seen lately takes some 50 us to normalise
FILTERS_AT_MOST = 16  # streams at the same time
SILENCE_S = 30.0  # until who sends nothing, or takes nothing, is dropped


async def each(messages: Sequence[M], read: Callable[[M], T], at_most: int) -> list[T | CustomerError]:
    """What each of a batch says, or what is wrong with it. Raises InvalidInput (BATCH_EMPTY, BATCH_TOO_LARGE)."""
    if not messages:
        raise InvalidInput("a batch has one at least", reason="BATCH_EMPTY")
    if len(messages) > at_most:
        raise InvalidInput(f"at most {at_most} a batch", reason="BATCH_TOO_LARGE", limit=at_most)
    found, pieces = list[T | CustomerError](), Pieces(NAMED_AT_ONCE)
    for message in messages:
        try:
            found.append(read(message))
        except InvalidInput as refused:
            found.append(refused)
        await pieces.done(1)
    return found


async def named_each(customers: Sequence[CustomerRef], lookup_key: bytes) -> list[Named | CustomerError]:
    """Raises InvalidInput (BATCH_EMPTY, BATCH_TOO_LARGE)."""
    return await each(customers, lambda customer: named(customer, lookup_key), CUSTOMERS_AT_MOST)


def named(customer: CustomerRef, lookup_key: bytes) -> Named:
    """Raises InvalidInput (CUSTOMER_MISSING, CUSTOMER_ID_INVALID, IDENTIFIER_INVALID)."""
    if customer.WhichOneof("by") == "identifier":
        return ByIdentifier(*identifiers.name_and_hash(customer.identifier.namespace, customer.identifier.value, lookup_key))
    one = named_customer(customer)
    assert isinstance(one, bytes), "what isn't by identifier is by id"
    return one


class Audiences:
    def __init__(self, checks: Checks, progress: Progress, lookup_key: bytes) -> None:
        self._checks = checks
        self._progress = progress
        self._lookup_key = lookup_key
        self._running = Running(_busy)

    def filtered(self, requests: AsyncIterator[pb.FilterAudienceRequest]) -> AsyncGenerator[pb.FilterAudienceResponse, None]:
        """What FilterAudience answers. Nothing is kept ahead: the next batch is read when an answer was taken."""
        return taken_in_time(self._running.limited(self._answers(requests), FILTERS_AT_MOST), SILENCE_S)

    async def _answers(self, requests: AsyncIterator[pb.FilterAudienceRequest]) -> AsyncGenerator[pb.FilterAudienceResponse, None]:
        counts: Counter[str] = Counter()
        permitted, first = 0, pb.FilterAudienceRequest()
        while (request := await _next(requests)) is not None:
            first = first if first.purpose else request
            _require_same(first, request)
            answer = await self._answer(first, request)
            permitted += len(answer.permitted)
            counts.update(one.reason for one in answer.excluded)
            yield answer
        yield pb.FilterAudienceResponse(counts=pb.AudienceCounts(permitted=permitted, excluded=counts))

    async def _answer(self, first: pb.FilterAudienceRequest, batch: pb.FilterAudienceRequest) -> pb.FilterAudienceResponse:
        await self._progress.wait_all(freshness(batch.at_least_as_fresh), DEFAULT_DEADLINE_S)
        asked = await named_each(batch.customers, self._lookup_key)
        results = await self._checks.check_each(first.purpose, asked, asked_instant(first))
        why = [_why_excluded(result) for result in results]
        return pb.FilterAudienceResponse(
            sequence=batch.sequence,
            permitted=[index for index, reason in enumerate(why) if not reason],
            excluded=[pb.Excluded(index=index, reason=reason) for index, reason in enumerate(why) if reason],
        )


async def _next(requests: AsyncIterator[pb.FilterAudienceRequest]) -> pb.FilterAudienceRequest | None:
    """None at the end. Raises DeadlineExceeded (STREAM_NOT_SENT)."""
    try:
        async with asyncio.timeout(SILENCE_S):
            return await anext(requests, None)
    except TimeoutError:
        raise DeadlineExceeded("nothing was sent for too long; begin again", reason="STREAM_NOT_SENT") from None


def _require_same(first: pb.FilterAudienceRequest, later: pb.FilterAudienceRequest) -> None:
    """Raises InvalidInput (FILTER_CHANGED)."""
    fields: list[Callable[[Any], Any]] = [lambda one: one.purpose, lambda one: one.valid_at, lambda one: one.known_at]
    empty = pb.FilterAudienceRequest()
    if any(field(later) not in (field(first), field(empty)) for field in fields):
        raise InvalidInput("purpose and instants are those of the first request", reason="FILTER_CHANGED")


def _why_excluded(result: Checked | CustomerError) -> str:
    """Empty of whom is permitted."""
    if isinstance(result, CustomerError):
        return result.reason
    return "" if result.verdict.permitted else result.verdict.reason


def _busy(at_most: int) -> LimitExceeded:
    return LimitExceeded("as many filters as there may be are running; try again", reason="FILTERS_BUSY", limit=at_most)
