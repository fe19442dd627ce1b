"""The part of identity's gRPC edge that erases."""

from typing import Any, Final

from c360.identity.v1 import identity_pb2 as pb

from services.identity.api.named import customer_or_node, linked_customer
from services.identity.domain.certificate import verifier
from services.identity.domain.erasure import EraseCustomer, Erasure, Stage
from services.identity.erasing import Eraser
from services.identity.graph.facts import Node
from services.identity.holding import Hold, Holds
from services.identity.ledger import Ledger
from services.identity.tables import erasures, views
from shared.errors import InvalidInput, NotFound
from shared.events.erasure import Policy
from shared.ids import from_text, to_text
from shared.instants import to_timestamp
from shared.positions import Progress
from shared.request_ids import check_request_id
from shared.rpc.edge import freshness
from shared.rpc.server import seconds_left
from shared.vault import Keyring

POLICIES: Final[dict[pb.ReimportPolicy.ValueType, Policy]] = {
    pb.REIMPORT_POLICY_REFUSE: "refuse",
    pb.REIMPORT_POLICY_START_CLEAN: "start_clean",
}
POLICY_VALUES: Final = {policy: value for value, policy in POLICIES.items()}
STAGES: Final[dict[Stage, pb.ErasureStage.ValueType]] = {
    "requested": pb.ERASURE_STAGE_REQUESTED,
    "queued": pb.ERASURE_STAGE_QUEUED,
    "begun": pb.ERASURE_STAGE_BEGUN,
    "keys_destroyed": pb.ERASURE_STAGE_KEYS_DESTROYED,
    "purged": pb.ERASURE_STAGE_PURGED,
    "completed": pb.ERASURE_STAGE_COMPLETED,
}


class ErasureApi:
    def __init__(self, pool: Any, ledger: Ledger, eraser: Eraser, holds: Holds, keyring: Keyring, progress: Progress) -> None:
        self._pool = pool
        self._ledger = ledger
        self._eraser = eraser
        self._holds = holds
        self._keyring = keyring
        self._progress = progress

    async def erase(self, request: pb.EraseCustomerRequest, context: Any) -> pb.EraseCustomerResponse:
        if request.policy not in POLICIES:
            raise InvalidInput("say what becomes of events about an erased customer", reason="POLICY_MISSING")
        check_request_id(request.request_id)
        erasure = await erasures.of_request(self._pool, request.request_id)
        if erasure is None or request.customer.WhichOneof("by") == "customer_id":
            customer, identifier = await self._person(request, context)
        else:
            customer, identifier = erasure.customer, erasure.identifier  # it may lead nowhere by now
        erasure = await self._eraser.erase(
            EraseCustomer(
                request_id=request.request_id,
                customer=customer,
                policy=POLICIES[request.policy],
                reason=request.reason,
                requested_by=request.requested_by,
                identifier=identifier,
            )
        )
        erasure = await self._eraser.wait(erasure, seconds_left(context))
        return pb.EraseCustomerResponse(erasure=self._message(erasure))

    async def get(self, request: pb.GetErasureRequest) -> pb.GetErasureResponse:
        match request.WhichOneof("erasure"):
            case "request_id":
                check_request_id(request.request_id)
                erasure = await erasures.of_request(self._pool, request.request_id)
            case "customer_id":
                erasure = await self._of_customer(from_text(request.customer_id, "customer"))
            case _:
                raise InvalidInput("name the erasure by its request_id or by a customer's id", reason="ERASURE_MISSING")
        if erasure is None:
            raise NotFound("no such erasure was asked for", reason="ERASURE_UNKNOWN")
        return pb.GetErasureResponse(erasure=self._message(erasure))

    async def _of_customer(self, customer: bytes) -> Erasure | None:
        """The one it fell to, or else the one that waits for it."""
        if (erasure_id := await erasures.erased_by(self._pool, customer)) is None:
            return await erasures.waiting_for(self._pool, await views.members(self._pool, customer))
        [erasure] = await erasures.get(self._pool, [erasure_id])
        return erasure

    async def place_hold(self, request: pb.PlaceLegalHoldRequest, context: Any) -> pb.PlaceLegalHoldResponse:
        customer = await self._customer(request, context)
        hold = await self._holds.place(request.request_id, customer, request.reason, request.placed_by)
        return pb.PlaceLegalHoldResponse(hold=_hold(hold))

    async def release_hold(self, request: pb.ReleaseLegalHoldRequest) -> pb.ReleaseLegalHoldResponse:
        hold = await self._holds.release(request.request_id, from_text(request.hold_id, "hold"), request.released_by)
        return pb.ReleaseLegalHoldResponse(hold=_hold(hold))

    async def _person(self, request: pb.EraseCustomerRequest, context: Any) -> tuple[bytes, bytes]:
        """Her customer, also the one that an identifier founded of which no fact is left; or else the identifier that only the
        quarantine knows her by; the other is empty."""
        try:
            return await self._customer(request, context), b""
        except NotFound as refusal:
            named = customer_or_node(request.customer, self._keyring.lookup_key)
            if not isinstance(named, Node):
                raise
            if refusal.reason == "IDENTIFIER_UNKNOWN" and (founded := await views.founded_by(self._pool, named.value_hash)):
                return founded, b""
            if not await self._eraser.is_held(named.value_hash):
                raise
            return b"", named.value_hash

    async def _customer(self, request: Any, context: Any) -> bytes:
        await self._progress.wait_all(freshness([request.at_least_as_fresh]), seconds_left(context))
        return await linked_customer(self._pool, request.customer, self._keyring.lookup_key, self._ledger.rules)

    def _message(self, erasure: Erasure) -> pb.Erasure:
        return pb.Erasure(
            erasure_id=to_text(erasure.erasure_id),
            request_id=erasure.request_id,
            customer_id=to_text(erasure.canonical) if erasure.canonical else "",
            stage=STAGES[erasure.stage],
            policy=POLICY_VALUES[erasure.policy],
            reason=erasure.reason,
            requested_by=erasure.requested_by,
            request_time=to_timestamp(erasure.requested_at),
            begin_time=to_timestamp(erasure.begun_at) if erasure.begun_at else None,
            complete_time=to_timestamp(erasure.completed_at) if erasure.completed_at else None,
            erased_customer_ids=[to_text(stream) for stream in erasure.streams],
            hold_ids=[to_text(hold) for hold in erasure.holds],
            certificate=erasure.certificate,
            verifier_key=verifier(self._keyring) if erasure.certificate else "",
            refused_events=erasure.refused,
            leftover_customer_ids=[to_text(stream) for stream in erasure.leftovers],
            proposed_customer_ids=[to_text(customer) for customer in erasure.proposed],
        )


def _hold(hold: Hold) -> pb.LegalHold:
    return pb.LegalHold(
        hold_id=to_text(hold.hold_id),
        customer_id=to_text(hold.customer),
        reason=hold.reason,
        placed_by=hold.placed_by,
        place_time=to_timestamp(hold.placed_at),
        release_time=to_timestamp(hold.released_at) if hold.released_at is not None else None,
    )
