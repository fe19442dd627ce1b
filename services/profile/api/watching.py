"""Watches as messages: what a look at some customers tells a watcher, in parts that a client can receive."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing

import msgspec
from c360.common.v1 import common_pb2
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import profile_pb2, watch_pb2
from google.protobuf.message import Message

from services.profile.api.bounds import LISTED_AT_MOST
from services.profile.api.disclosing import WatchDisclosures
from services.profile.api.masks import TRAITS, WITHHELD, Mask
from services.profile.api.messages import as_of_its_events, profile_message
from services.profile.api.told import REMEMBERED, Told
from services.profile.batches import Refused, Seen, members_of
from services.profile.following import MARKS, NOTHING, Places, amid, behind
from services.profile.profile import Profile
from services.profile.watch_turns import TOLD_AT_ONCE, WatchTurns
from services.profile.watches import Look
from shared.errors import LimitExceeded
from shared.events.consent import PurposeDefined
from shared.ids import to_text
from shared.pieces import Pieces

MESSAGE_BYTES = 1024 * 1024  # of changes; a profile alone may be larger
CHANGES_AT_MOST = 500  # of a message: all of them are looked at once more when it is sent
HEARTBEAT_S = 10.0  # a watcher to whom nothing is told still learns how far it is
TAG_BYTES = 16
UNKNOWN = "CUSTOMER_UNKNOWN"  # what the log has beside customers


class Wanted(msgspec.Struct, frozen=True):
    """Of a watch: what is shown, which traits have to have changed (none: anything), and whether those watched were named."""

    mask: Mask
    changed_traits: frozenset[str]
    named: bool

    def tells_of(self, traits: Collection[str]) -> bool:
        """Whether what is told may change with traits of these names: those that a profile has and the purpose may not see are withheld."""
        if self.changed_traits:
            return not self.changed_traits.isdisjoint(traits)
        return bool(traits) and (WITHHELD in self.mask.fields or self.mask.wants_any_trait(traits))


# Of these customers, looked at no earlier than that, those who may not be shown any more.
RefusedSince = Callable[[Look, Collection[bytes]], Awaitable[set[bytes]]]


class Part:
    """Changes that are to be sent together, by canonical customer, and the look that the first of them is from, without what it saw."""

    def __init__(self) -> None:
        self.changes: dict[bytes, watch_pb2.ProfileChange] = {}
        self.shown: list[tuple[Look, profile_pb2.Profile, Profile]] = []
        self.refused: list[tuple[Look, bytes, Refused]] = []
        self.look: Look | None = None
        self._bytes = 0

    def is_full(self, change: watch_pb2.ProfileChange) -> bool:
        """Whether this one doesn't fit."""
        return len(self.changes) >= CHANGES_AT_MOST or (bool(self.changes) and self._bytes + change.ByteSize() > MESSAGE_BYTES)

    def add(self, look: Look, looked_at: bytes, customer: bytes, change: watch_pb2.ProfileChange, outcome: Seen | Refused) -> None:
        """Of one who was looked at the canonical customer."""
        self.look = self.look or msgspec.structs.replace(look, outcomes={})
        if isinstance(outcome, Seen):
            self.shown.append((look, change.profile, outcome.profile))
        elif change.gone.reason:
            self.refused.append((look, looked_at, outcome))
        self.changes[customer] = change
        self._bytes += change.ByteSize()


class Teller:
    """What is sent was looked at once more just before. `taken` are the newest places that the watcher can go on from for sure: what came
    with them has been taken. `whole` are the newest amid no look."""

    def __init__(
        self,
        wanted: Wanted,
        refused_since: RefusedSince,
        disclose: WatchDisclosures,
        turns: WatchTurns,
        *,
        after: Places | None,
        token_of: Callable[[Places], str],
        unknown: Sequence[CustomerRef] = (),
        remembered: int = REMEMBERED,
    ) -> None:
        self._wanted = wanted
        self._refused_since = refused_since
        self._disclose = disclose
        self._turns = turns
        self._told = Told(others=after is not None, most=remembered)
        self._token_of = token_of
        self._unknown = unknown
        self._due_at = 0.0
        self._sent: Places = {}
        self._reached = after or {}
        self.taken = self._reached
        bound, places = amid(after)
        self.whole = places or {} if bound is None else {}

    async def responses(self, looks: AsyncGenerator[Look, None]) -> AsyncGenerator[watch_pb2.WatchProfilesResponse, None]:
        """The looks are closed with them."""
        part = Part()
        async with aclosing(looks):
            async for look in looks:
                for looked_at, customer, change, outcome in await self._changes(look):
                    if change is not None and part.is_full(change):
                        yield self._response(await self._still_shown(part), look)
                        part, self.taken = Part(), self._reached
                    if change is not None:
                        part.add(look, looked_at, customer, change, outcome)
                    self._reached = look.reached.get(looked_at, self._reached)
                if look.places is not None:
                    self._reached = look.places
                    if part.changes or self._is_due(look.places):
                        yield self._response(await self._still_shown(part), look)
                        part, self.taken, self.whole = Part(), look.places, look.places

    async def _changes(self, look: Look) -> list[tuple[bytes, bytes, watch_pb2.ProfileChange | None, Seen | Refused]]:
        """Of each who was looked at the canonical customer, and what there is to tell."""
        found, pieces = [], Pieces(TOLD_AT_ONCE)
        async with self._turns.of(len(look.outcomes)):
            for customer, outcome in look.outcomes.items():
                change = self._change(outcome, look.purpose, old=customer in look.old)
                found.append((customer, members_of(outcome)[0], change, outcome))
                await pieces.done(1)
        return found

    async def _still_shown(self, part: Part) -> list[watch_pb2.ProfileChange]:
        """Who is left out is looked at again in a moment, for what she did, and then the watcher hears that she is gone."""
        async with self._turns.of(len(part.changes)):
            await self._disclose.give(part.shown)
            await self._disclose.refuse(part.refused)
            shown = {customer for customer, change in part.changes.items() if change.HasField("profile")}
            refused = await self._refused_since(part.look, shown) if part.look is not None and shown else set[bytes]()
        for customer in refused:
            self._told.take_back(customer)
        return [change for customer, change in part.changes.items() if customer not in refused or not change.HasField("profile")]

    def _response(self, part: Sequence[watch_pb2.ProfileChange], look: Look) -> watch_pb2.WatchProfilesResponse:
        """With what was reached; it has positions where that is the end of a look."""
        unknown, self._unknown = self._unknown, ()
        self._due_at = asyncio.get_running_loop().time() + HEARTBEAT_S
        self._sent = self._reached
        return watch_pb2.WatchProfilesResponse(
            changes=part,
            positions=place_messages(look.places or {}),
            events_behind=behind(look.newest, self._reached),
            unknown_customers=unknown,
            place=self._token_of(self._reached),
        )

    def _is_due(self, places: Places) -> bool:
        return places != self._sent and asyncio.get_running_loop().time() >= self._due_at

    def _change(self, outcome: Seen | Refused, purpose: PurposeDefined, *, old: bool) -> watch_pb2.ProfileChange | None:
        """None: the watcher has it already, or needn't know."""
        members = members_of(outcome)
        if isinstance(outcome, Refused):
            return self._gone(members, outcome.refusal.reason)
        change = _change_of(members)
        change.profile.CopyFrom(profile_message(outcome.profile, purpose, outcome.verified, self._wanted.mask))
        news = self._told.is_news(members, self._tag(change, outcome, purpose))
        return change if news and not old else None

    def _gone(self, members: Sequence[bytes], reason: str) -> watch_pb2.ProfileChange | None:
        """By name only to whom she was shown, or who named her: else whoever says to come back would be told who refuses."""
        by_name = self._wanted.named or self._told.was_shown(members)
        if (reason == UNKNOWN and not self._wanted.named) or not self._told.is_gone(members, reason, by_name=by_name):
            return None
        if by_name:
            change = _change_of(members)
            change.gone.reason = reason
            return change
        return watch_pb2.ProfileChange(gone=watch_pb2.Gone(customer_hashes=map(customer_hash, members[:LISTED_AT_MOST])))

    def _tag(self, change: watch_pb2.ProfileChange, seen: Seen, purpose: PurposeDefined) -> bytes:
        rules = seen.profile.rules
        told = watch_pb2.ProfileChange(customer_id=change.customer_id, member_ids=change.member_ids)
        if not self._wanted.changed_traits:
            told.profile.CopyFrom(as_of_its_events(change.profile, rules))
            return hash_of(told)
        whole = profile_message(seen.profile, purpose, seen.verified, Mask((TRAITS,), self._wanted.changed_traits))
        for name, trait in whole.traits.items():
            shown = {"occur_time": trait.occur_time} if name in rules.clocks else {"value": trait.value}
            told.profile.traits[name].CopyFrom(profile_pb2.Trait(**shown, verified=trait.verified))
        return hash_of(told)


def customer_hash(customer: bytes) -> bytes:
    """Of an id that has 74 random bits, so that only who has it can tell whose it is."""
    return hashlib.sha256(to_text(customer).encode()).digest()


def _change_of(members: Sequence[bytes]) -> watch_pb2.ProfileChange:
    return watch_pb2.ProfileChange(
        customer_id=to_text(members[0]), member_ids=[to_text(member) for member in members[:LISTED_AT_MOST]]
    )


async def states(
    looks: AsyncGenerator[Look, None], refused_since: RefusedSince, disclose: WatchDisclosures
) -> AsyncGenerator[profile_pb2.WatchProfileResponse, None]:
    """Of one customer, each that isn't what was sent before. The looks are closed with them. Raises what she is refused with."""
    sent = b""
    async with aclosing(looks):
        async for look in looks:
            for customer, outcome in look.outcomes.items():
                if isinstance(outcome, Refused):
                    await disclose.refuse([(look, customer, outcome)])
                    raise outcome.refusal
                response = profile_pb2.WatchProfileResponse(
                    profile=profile_message(outcome.profile, look.purpose, outcome.verified)
                )
                tag = hash_of(as_of_its_events(response.profile, outcome.profile.rules))
                if tag == sent or customer in look.old:
                    sent = tag
                    continue
                await disclose.give([(look, response.profile, outcome.profile)])
                if not await refused_since(look, [customer]):  # else the next look raises it
                    sent = tag
                    yield response


def watches_busy(at_most: int) -> LimitExceeded:
    return LimitExceeded("as many watches as there may be are running", reason="WATCHES_BUSY", limit=at_most)


def too_slow(**facts: str) -> LimitExceeded:
    return LimitExceeded("this watch was not read for too long; go on from the newest place", reason="WATCH_TOO_SLOW", **facts)


def hash_of(message: Message) -> bytes:
    return hashlib.blake2b(message.SerializeToString(deterministic=True), digest_size=TAG_BYTES).digest()


def place_messages(places: Mapping[str, int]) -> list[common_pb2.Position]:
    return [
        common_pb2.Position(log=log, partition=int(partition or 0), number=number)
        for (log, _, partition), number in ((name.partition("/"), number) for name, number in sorted(places.items()))
        if number > NOTHING and log not in MARKS
    ]
