"""The gRPC edge of evidence."""

from typing import Any, Final

import msgspec
from c360.consent.v1 import evidence_pb2 as pb
from c360.consent.v1 import evidence_pb2_grpc

from services.consent.api.asking import asked_instant, instant_in, position
from services.consent.api.audiences import named
from services.consent.api.decisions import decision_message
from services.consent.api.restricted import restricted_message
from services.consent.conflicts import Conflict, Conflicts
from services.consent.domain.explaining import Change
from services.consent.domain.receipts import Format, hash_of
from services.consent.evidence import Receipts
from services.consent.explaining import Considered, Explained, Explanations
from services.consent.restricted import Restricteds
from shared.errors import InvalidInput
from shared.ids import from_text, to_text
from shared.positions import Progress
from shared.rpc.edge import freshness
from shared.rpc.paging import Page
from shared.rpc.server import seconds_left

BY_HASH: Final = msgspec.msgpack.Decoder(bytes)
FORMATS: Final[dict[pb.ReceiptFormat.ValueType, Format]] = {
    pb.RECEIPT_FORMAT_KANTARA: "kantara",
    pb.RECEIPT_FORMAT_ISO_27560: "iso_27560",
}


class EvidenceApi(evidence_pb2_grpc.EvidenceServiceServicer):
    def __init__(
        self,
        receipts: Receipts,
        explanations: Explanations,
        conflicts: Conflicts,
        restricted: Restricteds,
        progress: Progress,
        lookup_key: bytes,
    ) -> None:
        self._receipts = receipts
        self._conflicts = conflicts
        self._restricted = restricted
        self._explanations = explanations
        self._progress = progress
        self._lookup_key = lookup_key

    async def GetReceipt(self, request: pb.GetReceiptRequest, context: Any) -> pb.GetReceiptResponse:
        if (format_ := FORMATS.get(request.format)) is None:
            raise InvalidInput("say which form the receipt has", reason="FORMAT_MISSING")
        document, pos = await self._receipts.receipt(from_text(request.decision_id, "decision"), format_)
        return pb.GetReceiptResponse(document=msgspec.json.encode(document).decode(), position=position(pos))

    async def ExplainCheck(self, request: pb.ExplainCheckRequest, context: Any) -> pb.ExplainCheckResponse:
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        who = named(request.customer, self._lookup_key)
        explained = await self._explanations.explain(request.purpose, who, asked_instant(request))
        return pb.ExplainCheckResponse(explanation=_explanation(explained))

    async def DiffCheck(self, request: pb.DiffCheckRequest, context: Any) -> pb.DiffCheckResponse:
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        who = named(request.customer, self._lookup_key)
        first, then = (instant_in(request, f"{end}_valid_at", f"{end}_known_at") for end in ("from", "to"))
        before, after, changes = await self._explanations.differ(request.purpose, who, first, then)
        return pb.DiffCheckResponse(
            before=_explanation(before), after=_explanation(after), changes=[_change(change) for change in changes]
        )

    async def ListRestrictions(self, request: pb.ListRestrictionsRequest, context: Any) -> pb.ListRestrictionsResponse:
        page, ended = Page(request, BY_HASH), request.include_ended
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        if request.HasField("customer"):
            who = named(request.customer, self._lookup_key)
            found, last = await self._restricted.of_person(who, page.after or b"", page.size, ended=ended)
        else:
            found, last = await self._restricted.of_all(page.after or b"", page.size, ended=ended)
        return pb.ListRestrictionsResponse(
            restrictions=[restricted_message(one) for one in found], next_page_token=page.token_of(last or None)
        )

    async def ListConflicts(self, request: pb.ListConflictsRequest, _context: Any) -> pb.ListConflictsResponse:
        page = Page(request, BY_HASH)
        found, last = await self._conflicts.of(request.purpose, page.after or b"", page.size)
        return pb.ListConflictsResponse(conflicts=[_conflict(one) for one in found], next_page_token=page.token_of(last or None))


def _conflict(one: Conflict) -> pb.Conflict:
    return pb.Conflict(
        identifier_hash=one.identifier.value_hash.hex(),
        namespace=one.identifier.namespace,
        customer_id=to_text(one.customer) if one.customer else "",
        decision_id=to_text(one.verdict.decision_id),
        against=to_text(one.verdict.against),
        evidence=[position(pos) for pos in one.evidence],
    )


def _explanation(explained: Explained) -> pb.Explanation:
    purpose, verdict = explained.purpose, explained.verdict
    return pb.Explanation(
        permitted=verdict.permitted,
        reason=verdict.reason,
        state=verdict.state,
        purpose_version=purpose.event.version,
        purpose_position=position(purpose.pos),
        purpose_sha256=hash_of(purpose.event).hex(),
        decisions=[_considered(one) for one in explained.decisions],
        identifiers=[
            pb.ConsideredIdentifier(
                identifier_hash=value_hash.hex(),
                customer_id=to_text(explained.owners[value_hash]) if value_hash in explained.owners else "",
                theirs=bond.theirs,
            )
            for value_hash, bond in sorted(explained.bonds.items(), key=lambda item: item[0])
        ],
    )


def _considered(one: Considered) -> pb.ConsideredDecision:
    return pb.ConsideredDecision(
        decision=decision_message(one.decision),
        role=one.role,
        identifier_hash=one.decision.event.identifier_hash.hex(),
        position=position(one.decision.pos),
    )


def _change(change: Change) -> pb.CheckChange:
    return pb.CheckChange(
        what=change.what,
        decision_id=to_text(change.decision_id) if change.decision_id else "",
        before=change.before,
        after=change.after,
        identifier_hash=change.identifier_hash.hex(),
    )
