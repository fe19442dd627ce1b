"""Watches as messages: what a look at some customers tells a watcher, in parts that a client can receive."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing

import msgspec
from c360.common.v1 import common_pb2
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import profile_pb2, watch_pb2

from services.profile.api.bounds import LISTED_AT_MOST
from services.profile.api.masks import TRAITS, Mask
from services.profile.api.messages import profile_message
from services.profile.api.told import REMEMBERED, Told
from services.profile.batches import Refused, Seen
from services.profile.following import NOTHING, Places
from services.profile.watches import Look, members_of
from shared.events.consent import PurposeDefined
from shared.ids import to_text

MESSAGE_BYTES = 1024 * 1024  # of changes; a profile alone may be larger
HEARTBEAT_S = 10.0  # a watcher to whom nothing is told still learns how far it is
TAG_BYTES = 16
UNKNOWN = "CUSTOMER_UNKNOWN"  # what the log has beside customers


class Wanted(msgspec.Struct, frozen=True):
    """Of a watch: what is shown, which traits have to have changed (none: anything), and whether those watched were named."""

    mask: Mask
    changed_traits: frozenset[str]
    named: bool


class Teller:
    """`taken` is the newest place that the watcher can go on from for sure: what came with it has been taken."""

    def __init__(self, wanted: Wanted, *, resumed: bool, unknown: Sequence[CustomerRef] = (), remembered: int = REMEMBERED) -> None:
        self._wanted = wanted
        self._told = Told(others=resumed, most=remembered)
        self._unknown = unknown
        self._due_at = 0.0
        self._sent: Places = {}
        self.taken: Places = {}

    async def responses(self, looks: AsyncGenerator[Look, None]) -> AsyncGenerator[watch_pb2.WatchProfilesResponse, None]:
        """The looks are closed with them."""
        part: list[watch_pb2.ProfileChange] = []
        size_bytes = 0
        async with aclosing(looks):
            async for look in looks:
                for change in self._changes(look):
                    if part and size_bytes + change.ByteSize() > MESSAGE_BYTES:
                        yield watch_pb2.WatchProfilesResponse(changes=part)
                        part, size_bytes = [], 0
                    part.append(change)
                    size_bytes += change.ByteSize()
                if look.places is not None and (part or self._is_due(look.places)):
                    yield self._whole(part, look.places, look.events_behind)
                    part, size_bytes, self.taken = [], 0, look.places

    def _changes(self, look: Look) -> Iterator[watch_pb2.ProfileChange]:
        for customer, outcome in look.outcomes.items():
            if change := self._change(outcome, look.purpose, old=customer in look.old):
                yield change

    def _whole(self, part: Sequence[watch_pb2.ProfileChange], places: Places, behind: int) -> watch_pb2.WatchProfilesResponse:
        unknown, self._unknown = self._unknown, ()
        self._due_at = asyncio.get_running_loop().time() + HEARTBEAT_S
        self._sent = places
        return watch_pb2.WatchProfilesResponse(
            changes=part, positions=place_messages(places), events_behind=behind, unknown_customers=unknown
        )

    def _is_due(self, places: Places) -> bool:
        return places != self._sent and asyncio.get_running_loop().time() >= self._due_at

    def _change(self, outcome: Seen | Refused, purpose: PurposeDefined, *, old: bool) -> watch_pb2.ProfileChange | None:
        """None: the watcher has it already, or needn't know."""
        members = members_of(outcome)
        change = watch_pb2.ProfileChange(
            customer_id=to_text(members[0]), member_ids=[to_text(member) for member in members[:LISTED_AT_MOST]]
        )
        if isinstance(outcome, Refused):
            reason = outcome.refusal.reason
            if (reason == UNKNOWN and not self._wanted.named) or not self._told.is_gone(members, reason, named=self._wanted.named):
                return None
            change.gone.reason = reason
            return change
        message = profile_message(outcome.profile, purpose, outcome.verified, self._wanted.mask)
        change.profile.CopyFrom(message)
        news = self._told.is_news(members, self._tag(change, outcome, purpose))
        return change if news and not old else None

    def _tag(self, change: watch_pb2.ProfileChange, seen: Seen, purpose: PurposeDefined) -> bytes:
        told = change
        if self._wanted.changed_traits:
            told = watch_pb2.ProfileChange(customer_id=change.customer_id, member_ids=change.member_ids)
            whole = profile_message(seen.profile, purpose, seen.verified, Mask((TRAITS,), self._wanted.changed_traits))
            for name, trait in whole.traits.items():
                told.profile.traits[name].CopyFrom(profile_pb2.Trait(value=trait.value, verified=trait.verified))
        return hashlib.blake2b(told.SerializeToString(deterministic=True), digest_size=TAG_BYTES).digest()


def place_messages(places: Mapping[str, int]) -> list[common_pb2.Position]:
    return [
        common_pb2.Position(log=log, partition=int(partition or 0), number=number)
        for (log, _, partition), number in ((name.partition("/"), number) for name, number in sorted(places.items()))
        if number > NOTHING
    ]
