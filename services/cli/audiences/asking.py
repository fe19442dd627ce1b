"""Asks consent about batches of people, and goes on where it was when consent was away."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from services.cli.audiences.people import Asked
from services.cli.errors import NotReachable

if TYPE_CHECKING:
    from c360.consent.v1 import consent_pb2

AHEAD_BATCHES: Final = 2  # sent and not yet answered: one is read while another is judged
TRIES: Final = 30  # in a row, while consent is away
TRY_AGAIN_S: Final = 1.0


Answers = Iterator[tuple[list[Asked], list[str]]]  # each batch with why each of it is excluded; empty: they aren't
OneCall = Callable[
    [Iterator[list[Asked]], deque[list[Asked]], str], Answers
]  # the second are those without an answer, also from a call before


def answered(batches: Iterator[list[Asked]], purpose: str, one_call: OneCall) -> Answers:
    """Goes on where it was when consent was away."""
    open_: deque[list[Asked]] = deque()
    seen, failures = False, 0
    while True:
        try:
            for batch, why in one_call(batches, open_, purpose):
                yield batch, why
                seen, failures = True, 0
            return
        except NotReachable:
            failures += 1
            if not seen or failures >= TRIES:
                raise
            time.sleep(TRY_AGAIN_S)


def permitting(batches: Iterator[list[Asked]], open_: deque[list[Asked]], purpose: str) -> Answers:
    """A OneCall: who doesn't permit the purpose is excluded."""
    from c360.consent.v1 import consent_pb2_grpc

    from services.cli.client import connect

    asking: SimpleQueue[consent_pb2.FilterAudienceRequest | None] = SimpleQueue()
    with connect("consent") as channel:
        answers = consent_pb2_grpc.ConsentServiceStub(channel).FilterAudience(iter(asking.get, None))
        try:
            for batch in open_:
                asking.put(_request(batch, purpose))
            while True:
                for batch in islice(batches, AHEAD_BATCHES - len(open_)):
                    open_.append(batch)
                    asking.put(_request(batch, purpose))
                if not open_:
                    return
                why = _reasons(open_[0], next(answers))
                yield open_.popleft(), why
        finally:
            asking.put(None)
            answers.cancel()


def _request(batch: Sequence[Asked], purpose: str) -> consent_pb2.FilterAudienceRequest:
    """Who isn't named is asked for as nobody, so that places stay."""
    from c360.common.v1.common_pb2 import CustomerRef
    from c360.consent.v1 import consent_pb2

    return consent_pb2.FilterAudienceRequest(purpose=purpose, customers=[one.ref or CustomerRef() for one in batch])


def _reasons(batch: Sequence[Asked], answer: consent_pb2.FilterAudienceResponse) -> list[str]:
    excluded = {one.index: one.reason for one in answer.excluded}
    return [asked.reason or excluded.get(index, "") for index, asked in enumerate(batch)]
