"""Asks consent about batches of people who of them may be asked for a purpose."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from services.cli.audiences.asking import AHEAD_BATCHES, Answers
from services.cli.audiences.people import Asked

if TYPE_CHECKING:
    from c360.common.v1 import common_pb2
    from c360.consent.v1 import asking_pb2

ANSWER_S: Final = 30.0  # of a batch; it takes some tens of milliseconds
BY_NOTHING: Final = "NOTHING_TO_ASK_BY"  # they have no identifier that the purpose is decided about by


def askable(
    batches: Iterator[list[Asked]], open_: deque[list[Asked]], purpose: str, fresh: Sequence[common_pb2.Position] = ()
) -> Answers:
    """A OneCall: who may not be asked is excluded. Each batch waits until these positions are known."""
    from c360.consent.v1 import asking_pb2_grpc

    from services.cli.client import connect

    with connect("consent") as channel:
        ask = asking_pb2_grpc.AskingServiceStub(channel).CheckAskable.future
        under_way = deque(ask(_request(batch, purpose, fresh), timeout=ANSWER_S) for batch in open_)
        try:
            while True:
                for batch in islice(batches, AHEAD_BATCHES - len(open_)):
                    open_.append(batch)
                    under_way.append(ask(_request(batch, purpose, fresh), timeout=ANSWER_S))
                if not open_:
                    return
                why = _reasons(open_[0], under_way[0].result().results)
                under_way.popleft()
                yield open_.popleft(), why
        finally:
            for call in under_way:
                call.cancel()


def _request(batch: Sequence[Asked], purpose: str, fresh: Sequence[common_pb2.Position]) -> asking_pb2.CheckAskableRequest:
    """Who isn't named is asked for as nobody, so that places stay."""
    from c360.common.v1.common_pb2 import CustomerRef
    from c360.consent.v1 import asking_pb2

    customers = [one.ref or CustomerRef() for one in batch]
    return asking_pb2.CheckAskableRequest(purpose=purpose, customers=customers, at_least_as_fresh=fresh)


def _reasons(batch: Sequence[Asked], results: Sequence[asking_pb2.AskableResult]) -> list[str]:
    return [asked.reason or _reason(result) for asked, result in zip(batch, results, strict=True)]


def _reason(result: asking_pb2.AskableResult) -> str:
    """Of who may be asked by any of their identifiers none; of several reasons the first."""
    if result.HasField("refusal"):
        return result.refusal.reason
    if any(one.may_be_asked for one in result.askable):
        return ""
    return result.askable[0].reason if result.askable else BY_NOTHING
