"""The part of profile's gRPC edge that tells how a profile came to be."""

from collections.abc import Iterable, Sequence, Set
from typing import Any, Final

from c360.profile.v1 import history_pb2 as pb
from c360.profile.v1 import history_pb2_grpc
from c360.profile.v1.profile_pb2 import Withheld

from services.profile.api.asking import customer_of, instant_for, instant_of
from services.profile.api.change_messages import (
    ANSWER_BYTES,
    change_message,
    diff_message,
    may_tell,
    redacted_names,
    withheld_messages,
)
from services.profile.api.choices import rules_choice
from services.profile.api.disclosing import call_of, names_of, shown_about
from services.profile.app import Profiles
from services.profile.differences import Differences
from services.profile.disclosed import Disclosed, Shown
from services.profile.domain.clocks import Order
from services.profile.domain.diff import Wanted
from services.profile.walking import Told, Walked, Walks
from shared.errors import InvalidInput
from shared.events.consent import PurposeDefined
from shared.positions import Progress
from shared.rpc.edge import freshness
from shared.rpc.paging import BY_NUMBER, Number, Page
from shared.rpc.server import seconds_left

ORDERS: Final[dict[pb.ChangeOrder.ValueType, Order]] = {
    pb.CHANGE_ORDER_UNSPECIFIED: "known",
    pb.CHANGE_ORDER_KNOWN: "known",
    pb.CHANGE_ORDER_HAPPENED: "happened",
}


class HistoryApi(history_pb2_grpc.HistoryServiceServicer):
    def __init__(
        self, profiles: Profiles, differences: Differences, walks: Walks, progress: Progress, disclosed: Disclosed
    ) -> None:
        self._profiles = profiles
        self._differences = differences
        self._walks = walks
        self._progress = progress
        self._disclosed = disclosed

    async def DiffProfile(self, request: pb.DiffProfileRequest, context: Any) -> pb.DiffProfileResponse:
        points = [
            (point, instant_of(self._profiles, point, f"{name}.")) for name, point in (("old", request.old), ("new", request.new))
        ]
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        purpose, call = self._profiles.purpose(request.purpose), call_of("DiffProfile", context)
        customer, choice = await customer_of(self._profiles, request.customer), rules_choice(request.rules)
        async with self._disclosed.read(call) as reading:
            reading.asks(purpose, customer)
            old, new = [await instant_for(self._profiles, point, customer, purpose, instant) for point, instant in points]

            async def found() -> tuple[pb.DiffProfileResponse, Shown]:
                compared = await self._differences.between(customer, purpose, old, new, choice)
                message = diff_message(compared, purpose, _wanted(request))
                return message, await self._of_changes(customer, [message], message.withheld)

            message, shown = await self._disclosed.steady(found)
            await self._disclosed.give(call, reading, shown)
        return message

    async def ListProfileChanges(self, request: pb.ListProfileChangesRequest, context: Any) -> pb.ListProfileChangesResponse:
        page, until = Page(request, BY_NUMBER), instant_of(self._profiles, request.until, "until.")
        if (order := ORDERS.get(request.order)) is None:
            raise InvalidInput("changes are listed by when they were known or by when they happened", reason="ORDER_UNKNOWN")
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        purpose = self._profiles.purpose(request.purpose)
        customer, choice = await customer_of(self._profiles, request.customer), rules_choice(request.rules)
        call, wanted = call_of("ListProfileChanges", context), _wanted(request)
        async with self._disclosed.read(call) as reading:
            reading.asks(purpose, customer)
            until = await instant_for(self._profiles, request.until, customer, purpose, until)

            async def found() -> tuple[pb.ListProfileChangesResponse, Shown]:
                walked = await self._walks.page(customer, purpose, order, until, page.after, page.size, choice, wanted)
                message = _message(walked, purpose, wanted.traits, page)
                return message, await self._of_changes(customer, message.changes, message.withheld)

            message, shown = await self._disclosed.steady(found)
            await self._disclosed.give(call, reading, shown)
        return message

    async def _of_changes(
        self, customer: bytes, changes: Sequence[pb.DiffProfileResponse | pb.DatedChange], withheld: Iterable[Withheld]
    ) -> Shown:
        fields = {name for change in changes for name in names_of(change)}
        return await shown_about(self._profiles, customer, fields, withheld=[(one.field, one.reason) for one in withheld])


def _wanted(request: pb.DiffProfileRequest | pb.ListProfileChangesRequest) -> Wanted:
    return Wanted(frozenset(request.traits), request.said_again)


def _message(
    walked: Walked, purpose: PurposeDefined, only: Set[str], page: Page[tuple[Number, bytes]]
) -> pb.ListProfileChangesResponse:
    """As many changes as were asked for and a message holds; `only`: traits that were walked for, empty for everything."""
    shown: list[pb.DatedChange] = []
    looked_at: list[Told] = []
    size_bytes, rest = 0, walked.rest
    redacted = redacted_names([walked.rules], only) if walked.redacted else ()
    for told in walked.told:
        if may_tell(told.change, purpose):
            message = change_message(told, walked.unnamed)
            size_bytes += message.ByteSize()
            if shown and (len(shown) == page.size or size_bytes > ANSWER_BYTES):
                rest = looked_at[-1].place
                break
            shown.append(message)
        looked_at.append(told)
    return pb.ListProfileChangesResponse(
        changes=shown,
        next_page_token=page.token_of(rest),
        withheld=withheld_messages((told.change for told in looked_at), () if only else [walked.rules], purpose, redacted),
        purpose_version=f"{purpose.name}@{purpose.version}",
        not_all_kept=walked.not_all_kept,
    )
