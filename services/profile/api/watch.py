"""The part of profile's gRPC edge that is watched."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import watch_pb2 as pb
from c360.profile.v1 import watch_pb2_grpc

from services.profile.api.disclosing import WatchDisclosures, call_of
from services.profile.api.masks import mask_of
from services.profile.api.resuming import Resuming
from services.profile.api.watching import Teller, Wanted, too_slow, watches_busy
from services.profile.app import Profiles
from services.profile.batches import Batches
from services.profile.disclosed import Disclosed
from services.profile.domain.rules_document import CONFIRMABLE
from services.profile.following import MARKS
from services.profile.watches import Look, Watches
from shared.errors import InvalidInput, LimitExceeded
from shared.identifiers import Identifier
from shared.positions import Progress
from shared.rpc.edge import freshness, named_customer
from shared.rpc.sending import Running, taken_in_time
from shared.rpc.server import DEFAULT_DEADLINE_S

CUSTOMERS_AT_MOST = 1_000  # of a watch that names them
TRAITS_AT_MOST = 100  # that have to have changed
WATCHES_AT_MOST = 100  # at a time, of up to 4 MB each
SEND_TIMEOUT_S = 30.0  # for a message: who doesn't read isn't waited for


class WatchApi(watch_pb2_grpc.WatchServiceServicer):
    def __init__(self, profiles: Profiles, batches: Batches, watches: Watches, progress: Progress, disclosed: Disclosed) -> None:
        self._profiles = profiles
        self._batches = batches
        self._watches = watches
        self._progress = progress
        self._disclosed = disclosed
        self._running = Running(watches_busy)

    async def WatchProfiles(self, request: pb.WatchProfilesRequest, context: Any) -> AsyncIterator[pb.WatchProfilesResponse]:
        wanted, resuming = wanted_by(request), Resuming(request)
        after = resuming.after
        # Not all of the deadline: that one is for the whole watch.
        await self._progress.wait_all(freshness(request.at_least_as_fresh), DEFAULT_DEADLINE_S)
        self._profiles.purpose(request.purpose)
        customers, unknown = await self._customers(request.customers)
        disclose = WatchDisclosures(self._disclosed, call_of("WatchProfiles", context))
        refused_since, turns = self._watches.refused_since, self._watches.turns
        teller = Teller(wanted, refused_since, disclose, turns, after=after, token_of=resuming.token_of, unknown=unknown)
        looks = self._looks(request, customers if wanted.named else None, after, wanted)

        def too_late() -> LimitExceeded:
            positions = (f"{name}:{number}" for name, number in sorted(teller.whole.items()) if name not in MARKS)
            return too_slow(place=resuming.token_of(teller.taken), positions=" ".join(positions))

        told = disclose.refusing(teller.responses(looks), lambda: self._profiles.purpose(request.purpose), customers)
        responses = self._running.limited(told, WATCHES_AT_MOST)
        async with aclosing(taken_in_time(responses, SEND_TIMEOUT_S, too_late)) as taken:
            async for response in taken:
                yield response

    def _looks(
        self, request: pb.WatchProfilesRequest, customers: set[bytes] | None, after: dict[str, int] | None, wanted: Wanted
    ) -> AsyncGenerator[Look, None]:
        verified = wanted.mask.wants_any_trait(CONFIRMABLE) or not wanted.changed_traits.isdisjoint(CONFIRMABLE)
        if customers is None:
            return self._watches.all(
                request.purpose, after, with_verified=verified, segment=request.segment, tells_of=wanted.tells_of
            )
        return self._watches.some(
            request.purpose, customers, after, with_verified=verified, segment=request.segment, tells_of=wanted.tells_of
        )

    async def _customers(self, refs: Sequence[CustomerRef]) -> tuple[set[bytes], list[CustomerRef]]:
        """Who is named, and those of them who are nobody."""
        named = [_named(ref) for ref in refs]
        found = await self._batches.customers_of({one for one in named if isinstance(one, Identifier)})
        customers = [found[one] if isinstance(one, Identifier) else one for one in named]
        known = await self._batches.newest({one for one in customers if isinstance(one, bytes)})
        return set(known), [ref for ref, one in zip(refs, customers, strict=True) if one not in known]


def _named(ref: CustomerRef) -> bytes | Identifier | None:
    """None: by an identifier that can't be anybody's, such as a placeholder. Raises InvalidInput (CUSTOMER_MISSING, CUSTOMER_ID_INVALID)."""
    try:
        return named_customer(ref)
    except InvalidInput as refused:
        if refused.reason != "IDENTIFIER_INVALID":
            raise
        return None


def wanted_by(request: pb.WatchProfilesRequest) -> Wanted:
    """Raises InvalidInput (BATCH_TOO_LARGE, FILTER_TOO_LONG, FIELD_UNKNOWN, TOO_MANY_PATHS)."""
    if len(request.customers) > CUSTOMERS_AT_MOST:
        raise InvalidInput(f"at most {CUSTOMERS_AT_MOST} customers a watch", reason="BATCH_TOO_LARGE", limit=CUSTOMERS_AT_MOST)
    if len(request.changed_traits) > TRAITS_AT_MOST:
        raise InvalidInput(f"at most {TRAITS_AT_MOST} traits", reason="FILTER_TOO_LONG", limit=TRAITS_AT_MOST)
    return Wanted(mask_of(request.read_mask), frozenset(request.changed_traits), bool(request.customers))
