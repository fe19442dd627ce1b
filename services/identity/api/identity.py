"""The gRPC edge of identity."""

from typing import Any, Final

from c360.identity.v1 import identity_pb2 as pb
from c360.identity.v1 import identity_pb2_grpc

from services.identity.api.erasure import ErasureApi
from services.identity.api.named import members_of, node
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.nobody import nobody
from services.identity.reviewing import Expiry
from services.identity.tables import closings, erasures, views
from services.identity.tables.closings import Closed
from shared.errors import NotFound
from shared.events import customer as events
from shared.ids import from_text, to_text
from shared.instants import to_timestamp
from shared.log import Record
from shared.positions import Progress
from shared.rpc.edge import freshness
from shared.rpc.paging import BEFORE_ALL, BY_NUMBER, Page
from shared.rpc.server import seconds_left

STATES: Final = {
    "open": pb.PROPOSAL_STATE_OPEN,
    "accepted": pb.PROPOSAL_STATE_ACCEPTED,
    "declined": pb.PROPOSAL_STATE_DECLINED,
    "expired": pb.PROPOSAL_STATE_EXPIRED,
    "withdrawn": pb.PROPOSAL_STATE_WITHDRAWN,
}
STATE_WORDS: Final = {value: word for word, value in STATES.items()}
# Answered by who stands by, too: they read tables that are committed, the log, and how far it is.
LOOKUPS: Final = tuple(
    f"/c360.identity.v1.IdentityService/{name}" for name in ("ResolveIdentifier", "GetCustomer", "ListProposals")
)
DECIDED: Final = (events.MERGE_DECIDED.id, events.MERGE_FORBIDDEN.id)


class IdentityApi(identity_pb2_grpc.IdentityServiceServicer):
    def __init__(
        self, pool: Any, ledger: Ledger, lookup_key: bytes, progress: Progress, erasure: ErasureApi, expiry: Expiry
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._expiry = expiry
        self._lookup_key = lookup_key
        self._progress = progress
        self._erasure = erasure

    async def ResolveIdentifier(self, request: pb.ResolveIdentifierRequest, context: Any) -> pb.ResolveIdentifierResponse:
        identifier = node(request.identifier, self._lookup_key)
        await self._progress.wait_all(freshness([request.at_least_as_fresh]), seconds_left(context))
        resolved = await views.resolve(self._pool, identifier.value_hash)
        if resolved is None:
            raise await nobody(self._pool, identifier, await self._ledger.rules_by_the_log())
        return pb.ResolveIdentifierResponse(
            customer_id=to_text(resolved.canonical),
            linked_customer_id=to_text(resolved.customer),
            ownership=pb.Ownership.Value(f"OWNERSHIP_{resolved.ownership.upper()}"),
        )

    async def GetCustomer(self, request: pb.GetCustomerRequest, context: Any) -> pb.GetCustomerResponse:
        customer = from_text(request.customer_id, "customer")
        await self._progress.wait_all(freshness([request.at_least_as_fresh]), seconds_left(context))
        members = await views.members(self._pool, customer)
        if not members:
            raise NotFound("no customer ever had this id", reason="CUSTOMER_UNKNOWN", customer_id=request.customer_id)
        records = await self._ledger.reader.streams([(IDENTITY_PARTITION, member) for member in members])
        erasure_id = await erasures.erased_by(self._pool, customer)
        return pb.GetCustomerResponse(customer=_customer(members, records, erasure_id))

    async def ListProposals(self, request: pb.ListProposalsRequest, context: Any) -> pb.ListProposalsResponse:
        page = Page(request, BY_NUMBER)
        await self._progress.wait_all(freshness([request.at_least_as_fresh]), seconds_left(context))
        members: list[bytes] = []
        if request.HasField("customer"):
            members = await members_of(self._pool, request.customer, self._lookup_key, await self._ledger.rules_by_the_log())
        after = page.after or BEFORE_ALL
        rows = await views.proposals(self._pool, STATE_WORDS.get(request.state, ""), after, page.wanted, members)
        shown, token = page.cut(rows, lambda row: (row.pos, row.proposal_id))
        found = await closings.closed(self._pool, shown)
        told = [_proposal(row, self._expiry, found.get(row.proposal_id)) for row in shown]
        return pb.ListProposalsResponse(proposals=told, next_page_token=token)

    async def EraseCustomer(self, request: pb.EraseCustomerRequest, context: Any) -> pb.EraseCustomerResponse:
        return await self._erasure.erase(request, context)

    async def GetErasure(self, request: pb.GetErasureRequest, context: Any) -> pb.GetErasureResponse:
        return await self._erasure.get(request)

    async def PlaceLegalHold(self, request: pb.PlaceLegalHoldRequest, context: Any) -> pb.PlaceLegalHoldResponse:
        return await self._erasure.place_hold(request, context)

    async def ReleaseLegalHold(self, request: pb.ReleaseLegalHoldRequest, context: Any) -> pb.ReleaseLegalHoldResponse:
        return await self._erasure.release_hold(request)


def _proposal(row: views.ProposalRow, expiry: Expiry, closed: Closed | None) -> pb.Proposal:
    return pb.Proposal(
        proposal_id=to_text(row.proposal_id),
        customer_ids=[to_text(row.customer), to_text(row.other)],
        reason=row.reason,
        cause_event_id=to_text(row.cause),
        weight=row.weight,
        doubts=row.doubts,
        propose_time=to_timestamp(row.proposed_at),
        state=STATES[row.state],
        close_time=to_timestamp(row.closed_at) if row.closed_at is not None else None,
        decision_id=to_text(row.decision_id) if row.decision_id else "",
        decided_by=closed.decided_by if closed else "",
        decision_reason=closed.reason if closed else "",
        close_cause_id=to_text(row.closed_by) if row.closed_by else "",
        close_cause=closed.cause if closed else "",
        identifier_hashes=[row.end_hash.hex(), row.other_end_hash.hex()],
        seen_time=to_timestamp(row.seen_at) if row.seen_at is not None else None,
        expire_time=to_timestamp(expiry.expires_at(row.proposed_at)) if row.state == "open" else None,
    )


def _undone(records: list[Record]) -> set[bytes]:
    """Ids of the links and merges that were taken back."""
    unlinked = {record.entry.public().link_id for record in records if record.entry.type_id == events.UNLINKED.id}
    return unlinked | {record.entry.public().merge_id for record in records if record.entry.type_id == events.SPLIT.id}


def _customer(members: list[bytes], records: list[Record], erasure_id: bytes | None) -> pb.Customer:
    """`members` oldest first; `records` are their whole streams. Of an erased customer, not even hashed identifiers."""
    customer = pb.Customer(customer_id=to_text(members[0]), member_ids=[to_text(member) for member in members])
    customer.erasure_id = to_text(erasure_id) if erasure_id else ""
    merges: dict[bytes, pb.Merge] = {}
    undone = _undone(records)
    decided = {record.entry.public().decision_id for record in records if record.entry.type_id in DECIDED}
    for record in sorted(records, key=lambda record: record.pos):
        entry, public = record.entry, record.entry.public()
        if entry.type_id == events.FOUNDED.id and entry.stream == members[0]:
            customer.found_time.CopyFrom(to_timestamp(record.recorded_at))
        elif entry.type_id == events.LINKED.id and erasure_id is None and entry.event_id not in undone:
            customer.identifiers.add(
                namespace=public.namespace,
                value_hash=public.value_hash.hex(),
                customer_id=to_text(entry.stream),
                link_time=to_timestamp(record.recorded_at),
            )
        elif entry.type_id == events.MERGED.id and public.merge_id not in undone:
            pair = sorted([entry.stream, public.other], key=members.index)
            merges[public.merge_id] = pb.Merge(
                merge_id=to_text(public.merge_id),
                customer_ids=[to_text(member) for member in pair],
                cause_event_id=to_text(public.cause) if public.cause and public.cause not in decided else "",
                cause_decision_id=to_text(public.cause) if public.cause in decided else "",
                merge_time=to_timestamp(record.recorded_at),
                match_weight=public.match_weight,
            )
    customer.merges.extend(merges.values())
    return customer
