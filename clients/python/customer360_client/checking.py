"""Verdicts of consent. One is used again only where the settings say so, and no longer than it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from customer360_client.caching import VERDICT_AT_MOST_S, Cache, Kept
from customer360_client.calls import Call, Judged
from customer360_client.errors import ClientError, from_refusal
from customer360_client.messages import CheckResponse, CustomerRef
from customer360_client.protos.c360.consent.v1.consent_pb2 import (
    CheckBatchRequest,
    CheckBatchResponse,
    CheckRequest,
    FilterAudienceResponse,
)

BATCH_AT_MOST: Final = 1_000  # as FilterAudience takes


class Verdicts:
    """`clock` never runs backwards; `now` tells the time, in seconds since 1970, as well as this machine knows it."""

    def __init__(self, cache: Cache, clock: Callable[[], float], now: Callable[[], float]) -> None:
        self.cache = cache
        self._clock = clock
        self._now = now

    def forget(self) -> None:
        self.cache.clear()

    def one(self, method: str, request: CheckRequest, timeout_s: float, *, anew: bool) -> Call[CheckResponse]:
        """`anew`: one at hand may be from before what the caller was told."""
        key = (request.purpose.encode(), request.customer.SerializeToString(deterministic=True))
        kept, epoch, asked_at, asked_now = self.cache.find(key), self.cache.epoch, self._clock(), self._now()

        def finish(response: CheckResponse) -> CheckResponse:
            # From when it was asked for: how long the answer took isn't known apart.
            good_s = min(response.valid_until_time.ToNanoseconds() / 1e9 - asked_now, VERDICT_AT_MOST_S)
            self.cache.keep(key, Kept("", response.SerializeToString(), asked_at + good_s), epoch)
            return response

        at_hand = CheckResponse.FromString(kept.content) if kept and not anew else None
        return Call("consent", method, request, CheckResponse, finish, timeout_s, at_hand=at_hand)

    def several(self, method: str, request: CheckBatchRequest, timeout_s: float) -> Call[list[CheckResponse | ClientError]]:
        def finish(response: CheckBatchResponse) -> list[CheckResponse | ClientError]:
            return [from_refusal(one.refusal) if one.HasField("refusal") else one.verdict for one in response.results]

        return Call("consent", method, request, CheckBatchResponse, finish, timeout_s)


def judged(response: FilterAudienceResponse) -> list[Judged]:
    """In the order of the batch."""
    by_place = dict.fromkeys(response.permitted, Judged(permitted=True))
    by_place |= {one.index: Judged(permitted=False, reason=one.reason) for one in response.excluded}
    return [by_place[place] for place in range(len(by_place))]


def audience_batches(customers: Iterable[CustomerRef]) -> Iterator[list[CustomerRef]]:
    coming = iter(customers)
    while batch := list(islice(coming, BATCH_AT_MOST)):
        yield batch
