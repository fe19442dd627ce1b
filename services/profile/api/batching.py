"""Several profiles in one call: each query with its result, in the order asked."""

from collections.abc import Sequence
from typing import NamedTuple

from c360.profile.v1 import profile_pb2 as pb

from services.profile.api.bounds import ANSWER_BYTES
from services.profile.api.disclosing import shown_of
from services.profile.api.etags import Tag
from services.profile.api.masks import Mask
from services.profile.api.messages import profile_message
from services.profile.batches import Named, Seen
from services.profile.disclosed import Shown
from services.profile.domain.clocks import Instant
from shared.errors import CustomerError, InvalidInput, LimitExceeded
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME
from shared.pieces import Pieces
from shared.rpc.edge import named_or_refused, refusal_message

QUERIES_AT_MOST = 100
MADE_AT_ONCE_BYTES = 64 * 1024  # of messages: some milliseconds
PAST_QUERIES_AT_MOST = 20  # of the past, or by other rules: each may have some hundred events folded for it, tens of milliseconds


def named_each(queries: Sequence[pb.ProfileQuery], instant: Instant, by_others: bool) -> list[Named | CustomerError]:
    """`by_others`: by rules that aren't in force. Raises InvalidInput (BATCH_EMPTY, BATCH_TOO_LARGE, INSTANT_AMBIGUOUS)."""
    by_version = any(query.version for query in queries)
    if by_version and instant.known_at != END_OF_TIME:
        raise InvalidInput("give known_at or versions, not both", reason="INSTANT_AMBIGUOUS")
    most = QUERIES_AT_MOST if instant.is_now and not by_version and not by_others else PAST_QUERIES_AT_MOST
    if not queries:
        raise InvalidInput("name at least one customer", reason="BATCH_EMPTY")
    if len(queries) > most:
        raise InvalidInput(f"at most {most} customers a call", reason="BATCH_TOO_LARGE", limit=most)
    return [named_or_refused(query.customer) for query in queries]


class Made(NamedTuple):
    """The results, and what is shown by them, by the place of the query."""

    results: list[pb.ProfileResult]
    shown: dict[int, Shown]


async def results(
    queries: Sequence[pb.ProfileQuery],
    outcomes: Sequence[Seen | CustomerError],
    purpose: PurposeDefined,
    mask: Mask,
    tag: Tag,
    instant: Instant,
    paths: Sequence[str],
) -> Made:
    """What doesn't fit into the answer any more is refused (BATCH_FULL)."""
    found, shown, pieces = list[pb.ProfileResult](), dict[int, Shown](), Pieces(MADE_AT_ONCE_BYTES)
    size_bytes = 0
    for place, (query, outcome) in enumerate(zip(queries, outcomes, strict=True)):
        shown_of_it: Shown | None = None
        if size_bytes <= ANSWER_BYTES:
            result, shown_of_it = _result(query, outcome, purpose, mask, tag, instant, paths)
            size_bytes += result.ByteSize()
            await pieces.done(result.ByteSize())
        if found and size_bytes > ANSWER_BYTES:
            result, shown_of_it = pb.ProfileResult(refusal=refusal_message(_full())), None
        if shown_of_it is not None:
            shown[place] = shown_of_it
        found.append(result)
    return Made(found, shown)


def _full() -> LimitExceeded:
    return LimitExceeded("the answer is full; ask again for this one", reason="BATCH_FULL", limit_bytes=ANSWER_BYTES)


def _result(
    query: pb.ProfileQuery,
    outcome: Seen | CustomerError,
    purpose: PurposeDefined,
    mask: Mask,
    tag: Tag,
    instant: Instant,
    paths: Sequence[str],
) -> tuple[pb.ProfileResult, Shown | None]:
    if isinstance(outcome, CustomerError):
        return pb.ProfileResult(refusal=refusal_message(outcome)), None
    message = profile_message(outcome.profile, purpose, outcome.verified, mask)
    etag = tag(message, outcome.profile.rules, purpose, mask)
    shown = shown_of(message, outcome.profile, instant, etag, paths)
    if etag == query.unless_etag:
        return pb.ProfileResult(etag=etag, not_modified=True), shown
    return pb.ProfileResult(profile=message, etag=etag), shown
