"""Several profiles in one call: each query with its result, in the order asked."""

from collections.abc import Sequence

from c360.profile.v1 import profile_pb2 as pb

from services.profile.api.bounds import ANSWER_BYTES
from services.profile.api.etags import Tag
from services.profile.api.masks import Mask
from services.profile.api.messages import profile_message
from services.profile.batches import Named, Seen
from services.profile.domain.clocks import Instant
from shared.errors import CustomerError, InvalidInput, LimitExceeded
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME
from shared.pieces import Pieces
from shared.rpc.edge import named_or_refused, refusal_message

QUERIES_AT_MOST = 100
MADE_AT_ONCE_BYTES = 64 * 1024  # of messages: some milliseconds
PAST_QUERIES_AT_MOST = 20  # of the past: each may have some hundred events folded for it, tens of milliseconds


def named_each(queries: Sequence[pb.ProfileQuery], instant: Instant) -> list[Named | CustomerError]:
    """Raises InvalidInput (BATCH_EMPTY, BATCH_TOO_LARGE, INSTANT_AMBIGUOUS)."""
    by_version = any(query.version for query in queries)
    if by_version and instant.known_at != END_OF_TIME:
        raise InvalidInput("give known_at or versions, not both", reason="INSTANT_AMBIGUOUS")
    most = QUERIES_AT_MOST if instant.is_now and not by_version else PAST_QUERIES_AT_MOST
    if not queries:
        raise InvalidInput("name at least one customer", reason="BATCH_EMPTY")
    if len(queries) > most:
        raise InvalidInput(f"at most {most} customers a call", reason="BATCH_TOO_LARGE", limit=most)
    return [named_or_refused(query.customer) for query in queries]


async def results(
    queries: Sequence[pb.ProfileQuery], outcomes: Sequence[Seen | CustomerError], purpose: PurposeDefined, mask: Mask, tag: Tag
) -> list[pb.ProfileResult]:
    """What doesn't fit into the answer any more is refused (BATCH_FULL)."""
    found, pieces = list[pb.ProfileResult](), Pieces(MADE_AT_ONCE_BYTES)
    size_bytes = 0
    for query, outcome in zip(queries, outcomes, strict=True):
        if size_bytes <= ANSWER_BYTES:
            result = _result(query, outcome, purpose, mask, tag)
            size_bytes += result.ByteSize()
            await pieces.done(result.ByteSize())
        if found and size_bytes > ANSWER_BYTES:
            result = pb.ProfileResult(refusal=refusal_message(_full()))
        found.append(result)
    return found


def _full() -> LimitExceeded:
    return LimitExceeded("the answer is full; ask again for this one", reason="BATCH_FULL", limit_bytes=ANSWER_BYTES)


def _result(
    query: pb.ProfileQuery, outcome: Seen | CustomerError, purpose: PurposeDefined, mask: Mask, tag: Tag
) -> pb.ProfileResult:
    if isinstance(outcome, CustomerError):
        return pb.ProfileResult(refusal=refusal_message(outcome))
    message = profile_message(outcome.profile, purpose, outcome.verified, mask)
    etag = tag(message, outcome.profile.rules, purpose, mask)
    if etag == query.unless_etag:
        return pb.ProfileResult(etag=etag, not_modified=True)
    return pb.ProfileResult(profile=message, etag=etag)
