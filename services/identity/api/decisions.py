"""The gRPC edge of decisions by hand."""

from collections.abc import Mapping
from typing import Any, Final

from c360.common.v1.common_pb2 import CustomerRef, Position
from c360.identity.v1 import decision_pb2 as pb
from c360.identity.v1 import decision_pb2_grpc

from services.identity.api.named import customer_or_node, members_of
from services.identity.api.weights import hashed
from services.identity.deciding import Decider
from services.identity.domain.decision import Act, Decide, Decision, Kind, Made, Party
from services.identity.graph.facts import Node
from services.identity.ledger import IDENTITY_PARTITION, Ledger
from services.identity.tables import decisions
from shared.errors import InvalidInput
from shared.ids import from_text, to_text
from shared.instants import to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness
from shared.rpc.paging import BEFORE_ALL, BY_NUMBER, Page
from shared.rpc.server import seconds_left

SERVICE_NAME: Final = "c360.identity.v1.DecisionService"
KINDS: Final[dict[Kind, pb.DecisionKind.ValueType]] = {"merge": pb.DECISION_KIND_MERGE, "forbid": pb.DECISION_KIND_FORBID}
ACCEPTED: Final = {pb.PROPOSAL_ANSWER_ACCEPT: True, pb.PROPOSAL_ANSWER_DECLINE: False}


class DecisionApi(decision_pb2_grpc.DecisionServiceServicer):
    def __init__(self, pool: Any, ledger: Ledger, decider: Decider, lookup_key: bytes, progress: Progress) -> None:
        self._pool = pool
        self._ledger = ledger
        self._decider = decider
        self._lookup_key = lookup_key
        self._progress = progress

    async def MergeCustomers(self, request: pb.MergeCustomersRequest, context: Any) -> pb.MergeCustomersResponse:
        made = await self._decide("merge", request, context, request.move_others)
        return pb.MergeCustomersResponse(**await self._answer(made), moved=_moved(made))

    async def SplitCustomer(self, request: pb.SplitCustomerRequest, context: Any) -> pb.SplitCustomerResponse:
        return pb.SplitCustomerResponse(**await self._answer(await self._decide("split", request, context)))

    async def ForbidMerge(self, request: pb.ForbidMergeRequest, context: Any) -> pb.ForbidMergeResponse:
        return pb.ForbidMergeResponse(**await self._answer(await self._decide("forbid", request, context)))

    async def WithdrawDecision(self, request: pb.WithdrawDecisionRequest, context: Any) -> pb.WithdrawDecisionResponse:
        decision_id = from_text(request.decision_id, "decision")
        made = await self._decider.withdraw(request.request_id, decision_id, request.withdrawn_by, request.reason)
        return pb.WithdrawDecisionResponse(**await self._answer(made))

    async def DecideProposal(self, request: pb.DecideProposalRequest, context: Any) -> pb.DecideProposalResponse:
        if request.answer not in ACCEPTED:
            raise InvalidInput("accept the proposal or decline it", reason="ANSWER_MISSING")
        proposal_id = from_text(request.proposal_id, "proposal")
        accept = ACCEPTED[request.answer]
        by, why = request.decided_by, request.reason
        made = await self._decider.decide_proposal(request.request_id, proposal_id, accept, by, why, request.move_others)
        return pb.DecideProposalResponse(**await self._answer(made), moved=_moved(made))

    async def ListDecisions(self, request: pb.ListDecisionsRequest, context: Any) -> pb.ListDecisionsResponse:
        page = Page(request, BY_NUMBER)
        await self._progress.wait_all(freshness([request.at_least_as_fresh]), seconds_left(context))
        members: list[bytes] = []
        if request.HasField("customer"):
            members = await members_of(self._pool, request.customer, self._lookup_key, self._ledger.rules)
        rows = await decisions.page(self._pool, members, page.after or BEFORE_ALL, page.wanted, request.include_withdrawn)
        shown, token = page.cut(rows, lambda row: (row.decided_at, row.decision_id))
        ends = await decisions.nodes(self._pool, {end for row in shown for end in row.ends})
        return pb.ListDecisionsResponse(decisions=[_message(row, ends) for row in shown], next_page_token=token)

    async def _decide(self, act: Act, request: Any, context: Any, move_others: bool = False) -> Made:
        await self._progress.wait_all(freshness([request.at_least_as_fresh]), seconds_left(context))
        command = Decide(
            request_id=request.request_id,
            act=act,
            one=self._party(request.customer),
            other=self._party(request.other),
            decided_by=request.decided_by,
            reason=request.reason,
            move_others=move_others,
        )
        return await self._decider.decide(command)

    def _party(self, ref: CustomerRef) -> Party:
        named = customer_or_node(ref, self._lookup_key)
        return Party(value_hash=named.value_hash) if isinstance(named, Node) else Party(customer=named)

    async def _answer(self, made: Made) -> dict[str, Any]:
        decision = made.decision
        found = await decisions.clusters(self._pool, decision)
        return {
            "decision": _message(decision, await decisions.nodes(self._pool, decision.ends)),
            "customers": [
                pb.Cluster(customer_id=to_text(one.customer), member_ids=[to_text(member) for member in one.members])
                for one in found
            ],
            "position": Position(log="customer", partition=IDENTITY_PARTITION, number=made.unit),
        }


def _moved(made: Made) -> list[pb.MovedCustomer]:
    return [
        pb.MovedCustomer(customer_id=to_text(customer), now_customer_ids=[to_text(one) for one in now])
        for customer, now in made.moved.items()
    ]


def _message(decision: Decision, ends: Mapping[bytes, Node]) -> pb.Decision:
    return pb.Decision(
        decision_id=to_text(decision.decision_id),
        request_id=decision.request_id,
        kind=KINDS[decision.kind],
        customer_ids=[to_text(decision.customer), to_text(decision.other_customer)],
        decided_by=decision.decided_by,
        reason=decision.reason,
        decide_time=to_timestamp(decision.decided_at),
        proposal_id=to_text(decision.proposal_id) if decision.proposal_id else "",
        withdraw_time=to_timestamp(decision.withdrawn_at) if decision.withdrawn_at is not None else None,
        withdrawn_by=decision.withdrawn_by or "",
        withdraw_reason=decision.withdrawn_reason or "",
        identifiers=[
            hashed(ends[end]) for end in (decision.one, decision.other) if end in ends
        ],  # who was erased meanwhile has none
    )
