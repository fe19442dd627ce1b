"""The gRPC edge of segments."""

import asyncio
from collections.abc import Collection
from typing import Any

import msgspec
from c360.profile.v1 import segment_pb2 as pb
from c360.profile.v1 import segment_pb2_grpc

from services.profile.api.asking import customer_of, instant_for, instant_of
from services.profile.api.choices import rules_choice
from services.profile.api.disclosing import BulkDisclosures, call_of, shown_about
from services.profile.api.membership_messages import change_message, lag_message
from services.profile.api.places import Places
from services.profile.api.segment_sizes import size_message, steps_of
from services.profile.app import Instant, Profiles
from services.profile.belonging import Belongings, require_sight_of
from services.profile.choosing import THEN, RulesChoice
from services.profile.disclosed import Disclosed, Shown
from services.profile.disclosing import Call
from services.profile.domain.membership import differing, looks_at, seen_by, told_by
from services.profile.domain.rules import Rules
from services.profile.domain.sizes import instants, sizes
from services.profile.enforcement import NOT_IN_PURPOSE
from services.profile.listed import Listed
from services.profile.memberships import Keeper
from services.profile.past_members import Asked, PastMembers
from services.profile.reading import noted
from services.profile.tables.memberships import Memberships, Place
from services.profile.tables.rulebook import Rulebook
from shared.errors import Unavailable
from shared.events.consent import PurposeDefined
from shared.ids import to_text
from shared.instants import END_OF_TIME, to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness
from shared.rpc.paging import BY_NUMBER, Number, Page
from shared.rpc.server import seconds_left

SETTLED_EVERY_S = 0.1  # how often it is looked whether everybody was looked at
BY_NAME = msgspec.msgpack.Decoder(str)
BY_PLACE = msgspec.msgpack.Decoder(bytes)


class SegmentApi(segment_pb2_grpc.SegmentServiceServicer):
    def __init__(
        self,
        profiles: Profiles,
        rulebook: Rulebook,
        memberships: Memberships,
        listed: Listed,
        belongings: Belongings,
        past_members: PastMembers,
        keeper: Keeper,
        progress: Progress,
        places: Places,
        disclosed: Disclosed,
    ) -> None:
        self._profiles = profiles
        self._rulebook = rulebook
        self._memberships = memberships
        self._listed = listed
        self._belongings = belongings
        self._past_members = past_members
        self._keeper = keeper
        self._progress = progress
        self._places = places
        self._disclosed = disclosed

    async def ListSegments(self, request: pb.ListSegmentsRequest, context: Any) -> pb.ListSegmentsResponse:
        page = Page(request, BY_NAME)
        await self._fresh(request, context)
        in_force = self._rulebook.in_force
        purpose = self._profiles.purpose(request.purpose) if request.purpose else None
        lag = await self._keeper.lag()
        place = await self._memberships.place()
        sizes = await self._memberships.sizes() if purpose else {}
        unsettled = self._unsettled(in_force.rules, place, await self._memberships.place())
        seen = _seen(in_force.rules, purpose) - unsettled
        found = sorted(in_force.document.segments.items())
        rows = [(name, segment) for name, segment in found if page.after is None or name > page.after][: page.wanted]
        shown, token = page.cut(rows, lambda one: one[0])
        return pb.ListSegmentsResponse(
            segments=[
                pb.Segment(
                    name=name,
                    title=one.title,
                    when=one.when,
                    size=sizes.get(name, 0) if name in seen else None,
                    settled=name not in unsettled,
                )
                for name, one in shown
            ],
            next_page_token=token,
            rules_version=in_force.version,
            settled=not unsettled,
            lag=lag_message(lag),
            **(_progress(in_force.rules, place) if unsettled else {}),
        )

    async def ListSegmentSizes(self, request: pb.ListSegmentSizesRequest, context: Any) -> pb.ListSegmentSizesResponse:
        page, asked = Page(request, BY_NUMBER), steps_of(self._profiles, request)
        await self._fresh(request, context)
        purpose = self._purpose(request.segment, request.purpose)
        first = max(asked.first, page.after[0] + asked.step) if page.after else asked.first
        rows, lag = instants(first, asked.last, asked.step, page.wanted), await self._keeper.lag()
        grown = await self._memberships.grown(request.segment, rows) if rows else {}
        seen = seen_by([one.rules for one in self._rulebook.activations], request.segment, purpose.may_see)
        found, token = page.cut(
            sizes(rows, grown, await self._memberships.settlings(request.segment), seen.get), lambda one: (one.at, b"")
        )
        return pb.ListSegmentSizesResponse(sizes=map(size_message, found), next_page_token=token, lag=lag_message(lag))

    async def ListSegmentMembers(self, request: pb.ListSegmentMembersRequest, context: Any) -> pb.ListSegmentMembersResponse:
        page, asked, choice = Page(request, BY_PLACE), instant_of(self._profiles, request), rules_choice(request.rules)
        await self._fresh(request, context)
        if not asked.is_now or choice != THEN:
            return await self._members_then(request, page, asked, choice, call_of("ListSegmentMembers", context))
        purpose = self._purpose(request.segment, request.purpose)
        after = b"" if page.after is None else self._places.open(page.after, request.segment)
        rules = self._rulebook.rules
        place = await self._settled(request.segment, rules, seconds_left(context))
        lag, rows = await self._keeper.lag(), await self._memberships.members(request.segment, after, page.wanted)
        await self._settled(request.segment, rules, 0, place)  # others that came into force meanwhile had written some of them
        found, token = page.cut(rows, lambda one: self._places.seal(one.customer, request.segment))
        with noted() as reading:
            judged = await self._listed.judged(request.segment, [one.customer for one in found], purpose)
        shown = [
            pb.SegmentMember(customer_id=to_text(one.customer), enter_time=to_timestamp(one.entered_at), cut=judged[one.customer])
            for one in found
            if one.customer in judged
        ]
        disclose = BulkDisclosures(self._disclosed, call_of("ListSegmentMembers", context), purpose)
        await disclose.give(reading, {customer: [f"segment:{request.segment}"] for customer in judged})
        withheld = len(found) - len(shown)
        return pb.ListSegmentMembersResponse(members=shown, withheld_count=withheld, next_page_token=token, lag=lag_message(lag))

    async def _members_then(
        self, request: pb.ListSegmentMembersRequest, page: Page[bytes], instant: Instant, choice: RulesChoice, call: Call
    ) -> pb.ListSegmentMembersResponse:
        purpose, rules = self._profiles.purpose(request.purpose), await self._past_members.rules(instant, choice)
        require_sight_of(request.segment, rules, purpose)
        place_of = f"{request.segment} then"  # in another order than the members of now
        after = b"" if page.after is None else self._places.open(page.after, place_of)
        with noted() as reading:
            found = await self._past_members.page(Asked(request.segment, rules, instant, purpose), after, page.size)
        fields = {customer: [f"segment:{request.segment}"] for customer, _ in found.members}
        await BulkDisclosures(self._disclosed, call, purpose).give(reading, fields)
        return pb.ListSegmentMembersResponse(
            members=[pb.SegmentMember(customer_id=to_text(customer), cut=cut) for customer, cut in found.members],
            withheld_count=found.withheld,
            unknown_count=found.unknown,
            next_page_token=page.token_of(self._places.seal(found.rest, place_of) if found.rest else None),
        )

    async def ListMembershipChanges(
        self, request: pb.ListMembershipChangesRequest, context: Any
    ) -> pb.ListMembershipChangesResponse:
        page, call = Page(request, BY_NUMBER), call_of("ListMembershipChanges", context)
        await self._fresh(request, context)
        purpose = self._profiles.purpose(request.purpose)
        if request.HasField("customer"):
            return await self._changes_of(await customer_of(self._profiles, request.customer), request, page, purpose, call)
        require_sight_of(request.segment, self._rulebook.rules, purpose)
        with noted() as reading:
            permitted, message = await self._changes(request, page, purpose)
        fields = {customer: [f"segment:{request.segment}"] for customer in permitted}
        await BulkDisclosures(self._disclosed, call, purpose).give(reading, fields)
        return message

    async def _changes_of(
        self,
        customer: bytes,
        request: pb.ListMembershipChangesRequest,
        page: Page[tuple[Number, bytes]],
        purpose: PurposeDefined,
        call: Call,
    ) -> pb.ListMembershipChangesResponse:
        """Of one who is named."""
        async with self._disclosed.read(call) as reading:
            reading.asks(purpose, customer)
            require_sight_of(request.segment, self._rulebook.rules, purpose)
            members = (await self._disclosed.steady(lambda: self._profiles.standing(customer, purpose))).members
            _, message = await self._changes(request, page, purpose, members)
            await self._disclosed.give(call, reading, Shown(members=members, fields=[f"segment:{request.segment}"]))
        return message

    async def _changes(
        self,
        request: pb.ListMembershipChangesRequest,
        page: Page[tuple[Number, bytes]],
        purpose: PurposeDefined,
        of: Collection[bytes] = (),
    ) -> tuple[set[bytes], pb.ListMembershipChangesResponse]:
        """And who of those on the page may be told of; `of`: nobody for everybody."""
        before = page.after[0] if page.after else END_OF_TIME
        lag, rows = await self._keeper.lag(), await self._memberships.changes(request.segment, of, before, page.wanted)
        found, token = page.cut(rows, lambda one: (one.number, b""))
        permitted = await self._listed.permitted({one.customer for one in found}, purpose)
        told = told_by([one.rules for one in self._rulebook.activations], request.segment, purpose.may_see)
        shown = [
            change_message(one) for one in found if one.customer in permitted and told(one.rules_version, one.cause == "rules")
        ]
        withheld = len(found) - len(shown)
        return permitted, pb.ListMembershipChangesResponse(
            changes=shown, withheld_count=withheld, next_page_token=token, lag=lag_message(lag)
        )

    async def GetMembership(self, request: pb.GetMembershipRequest, context: Any) -> pb.GetMembershipResponse:
        asked, choice = instant_of(self._profiles, request), rules_choice(request.rules)
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        purpose = self._profiles.purpose(request.purpose)
        customer = await customer_of(self._profiles, request.customer)
        call = call_of("GetMembership", context)
        async with self._disclosed.read(call) as reading:
            reading.asks(purpose, customer)
            asked = await instant_for(self._profiles, request, customer, purpose, asked)
            found = await self._disclosed.steady(lambda: self._belongings.of(customer, purpose, asked, choice))
            segments = {f"segment:{name}" for name in (*found.segments, *found.cut)}
            withheld = [(f"segment:{name}", NOT_IN_PURPOSE) for name in found.withheld]
            shown = await shown_about(self._profiles, customer, segments, withheld=withheld, instant=asked)
            await self._disclosed.give(call, reading, shown)
        return pb.GetMembershipResponse(
            segments=found.segments,
            withheld_segments=found.withheld,
            rules_version=found.rules.version,
            cut_segments=found.cut,
            redacted_segments=found.redacted,
        )

    async def _fresh(self, request: Any, context: Any) -> None:
        """What is written follows from what the request waits for. Raises InvalidInput, NotFreshEnough."""
        if positions := freshness(request.at_least_as_fresh):
            await self._progress.wait_all(positions, seconds_left(context))
            await self._keeper.include({log for log, _ in positions}, seconds_left(context))

    def _purpose(self, segment: str, name: str) -> PurposeDefined:
        """Raises InvalidInput, Unavailable, NotFound (SEGMENT_UNKNOWN), NotPermitted (NOT_IN_PURPOSE)."""
        purpose = self._profiles.purpose(name)
        require_sight_of(segment, self._rulebook.rules, purpose)
        return purpose

    async def _settled(self, segment: str, rules: Rules, wait_s: float, since: Place | None = None) -> Place:
        """What is written may be of a condition of before, which the purpose was not judged by. Raises Unavailable (SEGMENTS_NOT_SETTLED)."""
        until = asyncio.get_running_loop().time() + wait_s
        while True:
            place = await self._memberships.place()
            if segment not in self._unsettled(rules, since or place, place):
                return place
            if asyncio.get_running_loop().time() < until:
                await asyncio.sleep(SETTLED_EVERY_S)
                continue
            raise Unavailable(
                "not everybody was looked at for it by the rules in force yet; try again",
                reason="SEGMENTS_NOT_SETTLED",
                **_progress(rules, place),
            )

    def _unsettled(self, rules: Rules, since: Place, now: Place) -> frozenset[str]:
        """Segments of which not all that was written at one time between these places is by these rules."""
        defined = frozenset(rules.segments.conditions) if rules.segments is not None else frozenset[str]()
        found = {*since.differing, *now.differing}
        for version in range(since.rules_version, now.rules_version + 1):
            if not 1 <= version <= len(self._rulebook.activations):
                return defined
            if version != rules.version:
                found |= differing(self._rulebook.version(version).rules, rules)
        return defined & found


def _seen(rules: Rules, purpose: PurposeDefined | None) -> set[str]:
    """Names of the segments whose size it may see."""
    if purpose is None or rules.segments is None:
        return set()
    return {name for name, one in rules.segments.conditions.items() if all(map(purpose.may_see, looks_at(one)))}


def _progress(rules: Rules, place: Place) -> dict[str, int]:
    """How far everybody is looked at; nobody, while the look by these rules hasn't begun."""
    begun = place.rules_version == rules.version
    looked_at = place.looked_at if begun else 0
    return {"looked_at_customers": looked_at, "customers": max(looked_at, place.customers) if begun else 0}
