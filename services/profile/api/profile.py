"""The gRPC edge of profile: check, translate, call, translate."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1 import profile_pb2_grpc

from services.profile.api.asking import customer_of, instant_for, instant_of
from services.profile.api.batching import Made, named_each, results
from services.profile.api.bounds import LISTED_AT_MOST
from services.profile.api.choices import rules_choice
from services.profile.api.disclosing import WatchDisclosures, call_of, of_identifiers, of_timeline, shown_of, verdict_of
from services.profile.api.etags import Tag
from services.profile.api.masks import mask_of
from services.profile.api.messages import identifier_message, position_messages, profile_message, replay_step
from services.profile.api.timeline import PLACES, timeline_filter, timeline_page
from services.profile.api.watching import states, too_slow, watches_busy
from services.profile.app import NOW, Instant, Profiles
from services.profile.batches import Batches, Refused
from services.profile.disclosed import Disclosed, Shown, verdict_fact
from services.profile.domain.golden import golden_record
from services.profile.domain.rules_document import CONFIRMABLE
from services.profile.domain.state import LinkedIdentifier
from services.profile.enforcement import depends_on_the_person, release
from services.profile.profile import Profile
from services.profile.reading import Reading, noted
from services.profile.ready import ReadyAnswers
from services.profile.replay import Replayer
from services.profile.timelines import Stretch, Timelines
from services.profile.watches import Watches
from shared.errors import LimitExceeded, Unavailable
from shared.events.consent import ALL_TRAITS, PurposeDefined
from shared.ids import to_text
from shared.instants import END_OF_TIME, to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness, refusal_message
from shared.rpc.paging import Page
from shared.rpc.sending import Running, taken_in_time
from shared.rpc.server import DEFAULT_DEADLINE_S, seconds_left

# Of a request for which its answer is kept. What was asked as of an instant or a position is rarely asked again.
ASKED_AGAIN = frozenset({"customer", "purpose", "read_mask", "unless_etag"})
WATCHES_AT_MOST = 2_000  # of one customer each, at a time; each holds a profile (3 MB at most) while it is being sent
REPLAYS_AT_MOST = 4  # at a time: each holds up to 20,000 events until they were read, and a thread while it is made
SEND_TIMEOUT_S = 30.0  # for a message: who doesn't read isn't waited for

IDENTIFIER_PLACES = msgspec.msgpack.Decoder(tuple[str, bytes])  # by its hash: no identifier stands in a token
MEMBER_PLACES = msgspec.msgpack.Decoder(bytes)


class MadeOne(NamedTuple):
    answer: pb.GetProfileResponse
    profile: Profile
    purpose: PurposeDefined
    shown: Shown


class ProfileApi(profile_pb2_grpc.ProfileServiceServicer):
    def __init__(
        self,
        profiles: Profiles,
        timelines: Timelines,
        replayer: Replayer,
        progress: Progress,
        watches: Watches,
        batches: Batches,
        tag: Tag,
        ready: ReadyAnswers,
        disclosed: Disclosed,
    ) -> None:
        self._profiles = profiles
        self._timelines = timelines
        self._replayer = replayer
        self._progress = progress
        self._watches = watches
        self._batches = batches
        self._tag = tag
        self._ready = ready
        self._disclosed = disclosed
        self._watching = Running(watches_busy)
        self._replaying = Running(replays_busy)

    async def GetProfile(self, request: pb.GetProfileRequest, context: Any) -> pb.GetProfileResponse:
        call, since = call_of("GetProfile", context), self._ready.changes
        async with self._disclosed.read(call) as reading:
            made = await self._made(request, context, reading)
            given = self._disclosed.given(call, reading, made.purpose, made.shown)
            if {field.name for field, _ in request.ListFields()} <= ASKED_AGAIN:
                ready = self._profiles.ready(made.answer.SerializeToString(), made.profile, made.purpose, given)
                self._ready.keep(request.SerializeToString(), ready, reading, since)
            await self._disclosed.write(call, reading, given)
        return made.answer

    async def _made(self, request: pb.GetProfileRequest, context: Any, reading: Reading) -> MadeOne:
        mask = mask_of(request.read_mask)
        purpose, customer, instant = await self._asked(request, context, reading)

        async def found() -> tuple[Profile, frozenset[str]]:
            profile = await self._profiles.profile(customer, purpose, instant, rules_choice(request.rules))
            wanted = mask.wants_any_trait(CONFIRMABLE)
            return profile, await self._profiles.verified(profile, instant) if wanted else frozenset()

        profile, verified = await self._disclosed.steady(found)
        message = profile_message(profile, purpose, verified, mask)
        etag = self._tag(message, profile.rules, purpose, mask)
        known_at = None if instant.known_at == END_OF_TIME else to_timestamp(instant.known_at)
        answer = pb.GetProfileResponse(etag=etag, known_at=known_at, verdict=verdict_of(message))
        if etag == request.unless_etag:
            answer.not_modified = True
        else:
            answer.profile.CopyFrom(message)
        return MadeOne(answer, profile, purpose, shown_of(message, profile, instant, etag, request.read_mask.paths))

    async def BatchGetProfiles(self, request: pb.BatchGetProfilesRequest, context: Any) -> pb.BatchGetProfilesResponse:
        mask, instant = mask_of(request.read_mask), instant_of(self._profiles, request)
        choice = rules_choice(request.rules)
        by_others = isinstance(choice, int) and choice != self._profiles.in_force.version
        named = named_each(request.queries, instant, by_others)
        versions = [query.version for query in request.queries]
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        purpose = self._profiles.purpose(request.purpose)
        verified, since = mask.wants_any_trait(CONFIRMABLE), self._ready.changes
        call = call_of("BatchGetProfiles", context)
        with noted() as reading:
            try:
                outcomes = await self._disclosed.steady(
                    lambda: self._batches.outcomes(named, purpose, instant, versions, choice, with_verified=verified)
                )
            except Unavailable as refusal:
                refusal.facts.update(verdict_fact(refusal))
                refused = await self._batches.refused(named, [refusal] * len(named))
                await self._disclosed.refuse_all(call, reading, purpose, refused)
                raise
        made = await results(request.queries, outcomes, purpose, mask, self._tag, instant, request.read_mask.paths)
        await self._disclosed.give_all(call, reading, purpose, made.shown.values())
        await self._disclosed.refuse_all(call, reading, purpose, await self._batches.refused(named, outcomes))
        if since != self._ready.changes:
            await self._take_back(made, purpose)
        return pb.BatchGetProfilesResponse(results=made.results)

    async def _take_back(self, made: Made, purpose: PurposeDefined) -> None:
        """Of whom it isn't permitted any more, once it was written down."""
        whose = {place: shown.members[0] for place, shown in made.shown.items()}
        now = await self._batches.clusters(whose.values(), purpose) if depends_on_the_person(purpose) else {}
        for place, customer in whose.items():
            if isinstance(found := now.get(customer), Refused):
                made.results[place].CopyFrom(pb.ProfileResult(refusal=refusal_message(found.refusal)))

    async def LookupCustomer(self, request: pb.LookupCustomerRequest, context: Any) -> pb.LookupCustomerResponse:
        call = call_of("LookupCustomer", context)
        async with self._disclosed.read(call) as reading:
            purpose, customer, instant = await self._asked(request, context, reading, names_then=True)
            standing = await self._disclosed.steady(lambda: self._profiles.standing(customer, purpose, instant))
            shown = Shown(members=standing.members, fields=["customer_id"], positions=standing.positions, instant=instant)
            await self._disclosed.give(call, reading, shown)
        return pb.LookupCustomerResponse(
            customer_id=to_text(standing.members[0]),
            member_ids=[to_text(member) for member in standing.members[:LISTED_AT_MOST]],
            member_count=len(standing.members),
            version=standing.version,
            positions=position_messages(standing.positions),
        )

    async def ListIdentifiers(self, request: pb.ListIdentifiersRequest, context: Any) -> pb.ListIdentifiersResponse:
        page = Page(request, IDENTIFIER_PLACES)
        call = call_of("ListIdentifiers", context)
        async with self._disclosed.read(call) as reading:
            purpose, customer, instant = await self._asked(request, context, reading)
            profile = await self._disclosed.steady(lambda: self._profiles.profile(customer, purpose, instant))
            released = release(profile.record, purpose)
            visible = sorted(released.identifiers, key=_place)
            shown, token = page.cut([linked for linked in visible if page.after is None or _place(linked) > page.after], _place)
            await self._disclosed.give(call, reading, of_identifiers(shown, profile, instant))
        return pb.ListIdentifiersResponse(
            identifiers=[identifier_message(linked) for linked in shown], next_page_token=token, cut_count=released.cut_identifiers
        )

    async def ListMembers(self, request: pb.ListMembersRequest, context: Any) -> pb.ListMembersResponse:
        page = Page(request, MEMBER_PLACES)
        call = call_of("ListMembers", context)
        async with self._disclosed.read(call) as reading:
            purpose, customer, instant = await self._asked(request, context, reading)
            members, named = await self._disclosed.steady(lambda: self._members(customer, purpose, instant))
            shown, token = page.cut([member for member in named if page.after is None or member > page.after], bytes)
            await self._disclosed.give(call, reading, Shown(members=members, fields=["customer_id"], instant=instant))
        return pb.ListMembersResponse(member_ids=[to_text(member) for member in shown], next_page_token=token)

    async def _members(self, customer: bytes, purpose: PurposeDefined, instant: Instant) -> tuple[list[bytes], list[bytes]]:
        """All who were one then, and those of them who may be named."""
        await self._profiles.permit_past(customer, purpose)
        members, _ = await self._profiles.members(customer, instant.known_at)
        await self._profiles.permit_others(members, purpose)
        return members, sorted(set(members) - await self._profiles.unnamed(customer, members))

    async def GetTimeline(self, request: pb.GetTimelineRequest, context: Any) -> pb.GetTimelineResponse:
        page, wanted = Page(request, PLACES), timeline_filter(request)
        call = call_of("GetTimeline", context)
        async with self._disclosed.read(call) as reading:
            purpose, customer, instant = await self._asked(request, context, reading)

            async def found() -> Stretch:
                await self._profiles.permit_past(customer, purpose)
                return await self._timelines.page(customer, instant, purpose, wanted, page.after, page.size)

            stretch = await self._disclosed.steady(found)
            entries, rest = timeline_page(stretch, purpose)
            await self._disclosed.give(call, reading, of_timeline(customer, stretch, entries, instant))
        return pb.GetTimelineResponse(entries=entries, next_page_token=page.token_of(rest))

    async def WatchProfile(self, request: pb.WatchProfileRequest, context: Any) -> AsyncIterator[pb.WatchProfileResponse]:
        # Not all of the deadline: that one is for the whole watch.
        await self._progress.wait_all(freshness(request.at_least_as_fresh), DEFAULT_DEADLINE_S)
        purpose = self._profiles.purpose(request.purpose)
        customer = await customer_of(self._profiles, request.customer)
        looks = self._watches.some(purpose.name, {customer}, self._places(request), with_verified=True)
        disclose = WatchDisclosures(self._disclosed, call_of("WatchProfile", context))
        told = states(looks, self._watches.refused_since, disclose)
        told = disclose.refusing(told, lambda: self._profiles.purpose(request.purpose), [customer])
        responses = self._watching.limited(told, WATCHES_AT_MOST)
        async with aclosing(taken_in_time(responses, SEND_TIMEOUT_S, too_slow)) as taken:
            async for response in taken:
                yield response

    def _places(self, request: pb.WatchProfileRequest) -> dict[str, int] | None:
        """What a profile doesn't tell where it stands counts as known: decisions, and rules."""
        after = dict(freshness(request.resume_after))
        return {**self._watches.unsaid(), **after} if after else None

    async def ReplayCustomer(self, request: pb.ReplayCustomerRequest, context: Any) -> AsyncIterator[pb.ReplayCustomerResponse]:
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        purpose = self._profiles.purpose(request.purpose)
        customer = await customer_of(self._profiles, request.customer)
        call = call_of("ReplayCustomer", context)
        async with self._disclosed.read(call) as reading:
            reading.asks(purpose, customer)
            served = await self._disclosed.steady(lambda: self._profiles.permit_replay(customer, purpose))
            await self._disclosed.give(call, reading, Shown(members=served.record.members, fields=[], positions=served.positions))
        responses = self._replaying.limited(self._replayed(customer, purpose), REPLAYS_AT_MOST)
        async with aclosing(taken_in_time(responses, SEND_TIMEOUT_S)) as taken:
            async for response in taken:
                yield response

    async def _replayed(self, customer: bytes, purpose: PurposeDefined) -> AsyncGenerator[pb.ReplayCustomerResponse, None]:
        since = self._ready.changes
        served = await self._profiles.permit_replay(customer, purpose)
        steps, ends = await self._replayer.replay(served.versions, served.rules.keeping)
        hashes = purpose.may_see(ALL_TRAITS)  # as in GetProfile: else others could compare what they may not see
        for step in steps:
            if since != self._ready.changes:  # the reader may have let it wait
                since = self._ready.changes
                await self._profiles.permit_past(customer, purpose)
            yield pb.ReplayCustomerResponse(step=replay_step(step, with_hash=hashes))
        replayed = golden_record(ends, served.rules)
        yield pb.ReplayCustomerResponse(
            outcome=pb.ReplayOutcome(
                customer_id=to_text(replayed.members[0]),
                version=len(steps),
                state_hash=replayed.state_hash if hashes else "",
                served_state_hash=served.record.state_hash if hashes else "",
                agrees=replayed.state_hash == served.record.state_hash,
            )
        )

    async def _asked(
        self, request: Any, context: Any, reading: Reading, *, names_then: bool = False
    ) -> tuple[PurposeDefined, bytes, Instant]:
        """The purpose, the customer and the instant, once what the caller has seen elsewhere can be seen here.

        `names_then`: an identifier is whom it named at that instant.
        """
        instant = instant_of(self._profiles, request)
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        purpose = self._profiles.purpose(request.purpose)  # may stand at the very position that was waited for
        customer = await customer_of(self._profiles, request.customer, instant if names_then else NOW)
        reading.asks(purpose, customer)
        return purpose, customer, await instant_for(self._profiles, request, customer, purpose, instant)


def replays_busy(at_most: int) -> LimitExceeded:
    return LimitExceeded("as many replays as there may be are running; try again", reason="REPLAYS_BUSY", limit=at_most)


def _place(linked: LinkedIdentifier) -> tuple[str, bytes]:
    return linked.namespace, linked.value_hash
