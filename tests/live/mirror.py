"""A channel that keeps profiles by what a watch tells it, and a watch of it that a test can wait for and break."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

from c360.profile.v1 import profile_pb2, watch_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from services.profile.api.masks import mask_of
from services.profile.api.messages import profile_message
from services.profile.api.resuming import Resuming
from services.profile.api.watching import Teller, Wanted, customer_hash
from services.profile.batches import Seen
from services.profile.following import Places
from services.profile.watches import Look
from shared.ids import from_text, to_text
from shared.waiting import end
from tests.live.inside import Inside

TOKENS = Resuming(watch_pb2.WatchProfilesRequest())
MASK = mask_of(FieldMask(paths=["customer_id", "member_ids", "traits", "identifiers"]))
PATIENCE_S = 20.0
POLL_S = 0.002


class Mirror:
    def __init__(self) -> None:
        self.profiles: dict[str, profile_pb2.Profile] = {}
        self.gone: list[tuple[str, str]] = []  # (customer, reason) in the order told
        self.place = ""

    def take(self, response: watch_pb2.WatchProfilesResponse) -> None:
        for change in response.changes:
            hashes = set(change.gone.customer_hashes)
            for member in [*change.member_ids, *(kept for kept in self.profiles if customer_hash(from_text(kept, "")) in hashes)]:
                self.profiles.pop(member, None)
            if change.HasField("profile"):
                self.profiles[change.customer_id] = change.profile
            else:
                self.gone.append((change.customer_id, change.gone.reason))
        self.place = response.place or self.place


class Watching:
    """A context manager. `customers` None: everybody."""

    def __init__(
        self,
        inside: Inside,
        mirror: Mirror,
        purpose: str,
        customers: Collection[bytes] | None,
        remembered: int = 100,
        segment: str = "",
    ) -> None:
        self._inside = inside
        self._mirror = mirror
        self._reached: Places = {}
        watches, after = inside.parts.watches, Resuming(watch_pb2.WatchProfilesRequest(resume_place=mirror.place)).after
        wanted = Wanted(MASK, frozenset(), customers is not None)
        looks = (
            watches.all(purpose, after, with_verified=True, segment=segment)
            if customers is None
            else watches.some(purpose, customers, after, with_verified=True, segment=segment, tells_of=wanted.tells_of)
        )
        told = wanted, watches.refused_since, inside.watch_disclosures(), watches.turns
        teller = Teller(*told, after=after, token_of=TOKENS.token_of, remembered=remembered)
        self._responses = teller.responses(self._noted(looks))

    async def __aenter__(self) -> "Watching":
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await end([self._task])

    async def caught_up(self) -> None:
        """Everything that is recorded now has been told."""
        goal = {**self._inside.parts.watches._applied()}
        async with asyncio.timeout(PATIENCE_S):
            while any(self._reached.get(name, -2) < number for name, number in goal.items()):
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(POLL_S)

    async def _noted(self, looks: AsyncGenerator[Look, None]) -> AsyncGenerator[Look, None]:
        async with aclosing(looks):
            async for look in looks:
                yield look
                if look.places is not None:
                    self._reached = look.places

    async def _read(self) -> None:
        async with aclosing(self._responses):
            async for response in self._responses:
                self._mirror.take(response)


async def shown(inside: Inside, purpose: str, customers: Collection[bytes]) -> dict[str, profile_pb2.Profile]:
    """What a read of each gives, by canonical customer."""
    defined = inside.parts.profiles.purpose(purpose)
    seen = await inside.parts.batches.seen(customers, defined, with_verified=True)
    return {
        to_text(one.profile.record.members[0]): profile_message(one.profile, defined, one.verified, MASK)
        for one in seen.values()
        if isinstance(one, Seen)
    }
