"""The gRPC edge of consent."""

from typing import Any, Final

from c360.common.v1.common_pb2 import Identifier, Position
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import consent_pb2_grpc

from services.consent.app import CONSENT_PARTITION, Checked, Consent
from services.consent.domain import ledger
from services.consent.views import Placed
from shared import identifiers
from shared.errors import InvalidInput
from shared.events.consent import DecisionRecorded, LegalBasis, Outcome, PurposeDefined
from shared.ids import to_text
from shared.instants import END_OF_TIME, from_timestamp, to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness, instant, named_customer
from shared.rpc.server import seconds_left

LEGAL_BASES: Final[dict[LegalBasis, pb.LegalBasis.ValueType]] = {
    "consent": pb.LEGAL_BASIS_CONSENT,
    "contract": pb.LEGAL_BASIS_CONTRACT,
    "legal_obligation": pb.LEGAL_BASIS_LEGAL_OBLIGATION,
    "legitimate_interest": pb.LEGAL_BASIS_LEGITIMATE_INTEREST,
}
OUTCOMES: Final[dict[Outcome, pb.Outcome.ValueType]] = {
    "granted": pb.OUTCOME_GRANTED,
    "refused": pb.OUTCOME_REFUSED,
    "withdrawn": pb.OUTCOME_WITHDRAWN,
    "objected": pb.OUTCOME_OBJECTED,
}
LEGAL_BASIS_NAMES: Final = {value: name for name, value in LEGAL_BASES.items()}
OUTCOME_NAMES: Final = {value: name for name, value in OUTCOMES.items()}


class ConsentApi(consent_pb2_grpc.ConsentServiceServicer):
    def __init__(self, consent: Consent, progress: Progress, lookup_key: bytes) -> None:
        self._consent = consent
        self._progress = progress
        self._lookup_key = lookup_key

    async def DefinePurpose(self, request: pb.DefinePurposeRequest, context: Any) -> pb.DefinePurposeResponse:
        placed = await self._consent.define_purpose(_define_purpose(request), seconds_left(context))
        return pb.DefinePurposeResponse(purpose=_purpose(placed), position=_position(placed.pos))

    async def ListPurposes(self, request: pb.ListPurposesRequest, context: Any) -> pb.ListPurposesResponse:
        return pb.ListPurposesResponse(purposes=[_purpose(placed) for placed in await self._consent.purposes.newest()])

    async def RecordDecision(self, request: pb.RecordDecisionRequest, context: Any) -> pb.RecordDecisionResponse:
        command = self._to_command(request)
        placed, readers = await self._consent.record_decision(command, seconds_left(context))
        return pb.RecordDecisionResponse(
            decision_id=to_text(placed.event.decision_id), position=_position(placed.pos), enforcing_readers=readers
        )

    async def Check(self, request: pb.CheckRequest, context: Any) -> pb.CheckResponse:
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        checked = await self._check(request)
        verdict = checked.verdict
        return pb.CheckResponse(
            permitted=verdict.permitted,
            reason=verdict.reason,
            decision_id=to_text(verdict.decision_id) if verdict.decision_id else "",
            purpose_version=checked.purpose.version,
        )

    async def ListDecisions(self, request: pb.ListDecisionsRequest, context: Any) -> pb.ListDecisionsResponse:
        value_hash = self._hash(request.identifier)
        decisions = await self._consent.decisions_of(value_hash, _instant(request))
        return pb.ListDecisionsResponse(decisions=[_decision(placed) for placed in decisions])

    async def _check(self, request: pb.CheckRequest) -> Checked:
        named = named_customer(request.customer)
        if isinstance(named, bytes):
            return await self._consent.check_customer(request.purpose, named, _instant(request))
        value_hash = identifiers.hash_of(named, self._lookup_key)
        return await self._consent.check_identifier(request.purpose, value_hash, _instant(request))

    def _to_command(self, request: pb.RecordDecisionRequest) -> ledger.RecordDecision:
        identifier = identifiers.normalise(request.identifier.namespace, request.identifier.value)
        return ledger.RecordDecision(
            request_id=request.request_id,
            identifier_hash=identifiers.hash_of(identifier, self._lookup_key),
            namespace=identifier.namespace,
            purpose=request.purpose,
            outcome=_outcome(request.outcome),
            decided_at=from_timestamp(request.decide_time) if request.HasField("decide_time") else None,
            method=request.method,
            confirmed=request.confirmed,
        )

    def _hash(self, identifier: Identifier) -> bytes:
        return identifiers.hash_of(identifiers.normalise(identifier.namespace, identifier.value), self._lookup_key)


def _instant(request: pb.CheckRequest | pb.ListDecisionsRequest) -> ledger.Instant:
    return ledger.Instant(
        instant(request.valid_at, "valid_at") if request.HasField("valid_at") else END_OF_TIME,
        instant(request.known_at, "known_at") if request.HasField("known_at") else END_OF_TIME,
    )


def _define_purpose(request: pb.DefinePurposeRequest) -> ledger.DefinePurpose:
    return ledger.DefinePurpose(
        request_id=request.request_id,
        name=request.purpose.name,
        description=request.purpose.description,
        legal_basis=_legal_basis(request.purpose.legal_basis),
        traits=tuple(request.purpose.traits),
    )


def _legal_basis(value: pb.LegalBasis.ValueType) -> LegalBasis:
    if (name := LEGAL_BASIS_NAMES.get(value)) is None:
        raise InvalidInput("a purpose stands on a legal basis", reason="LEGAL_BASIS_MISSING")
    return name


def _outcome(value: pb.Outcome.ValueType) -> Outcome:
    if (name := OUTCOME_NAMES.get(value)) is None:
        raise InvalidInput("a decision has an outcome", reason="OUTCOME_MISSING")
    return name


def _purpose(placed: Placed[PurposeDefined]) -> pb.Purpose:
    purpose = placed.event
    return pb.Purpose(
        name=purpose.name,
        version=purpose.version,
        description=purpose.description,
        legal_basis=LEGAL_BASES[purpose.legal_basis],
        traits=purpose.traits,
        define_time=to_timestamp(placed.recorded_at),
    )


def _decision(placed: Placed[DecisionRecorded]) -> pb.Decision:
    decision = placed.event
    return pb.Decision(
        decision_id=to_text(decision.decision_id),
        purpose=decision.purpose,
        purpose_version=decision.purpose_version,
        outcome=OUTCOMES[decision.outcome],
        decide_time=to_timestamp(decision.decided_at),
        record_time=to_timestamp(placed.recorded_at),
        method=decision.method,
        confirmed=decision.confirmed,
    )


def _position(pos: int) -> Position:
    return Position(log="consent", partition=CONSENT_PARTITION, number=pos)
