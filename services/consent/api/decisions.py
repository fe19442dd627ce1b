"""The gRPC edge of decisions."""

import hashlib
import hmac
import re
from collections.abc import AsyncGenerator, Collection
from typing import Any, Final

from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import consent_pb2_grpc

from services.consent.api.asking import asked_instant, position
from services.consent.api.audiences import Audiences, each, named, named_each
from services.consent.api.hashes import sha256_named
from services.consent.api.restriction_words import restriction_message
from services.consent.app import Consent
from services.consent.checking import Checked, Checks
from services.consent.domain import ledger
from services.consent.domain.ledger import NOW
from services.consent.together import Together
from services.consent.views import MOST_VERSIONS, Placed
from shared import identifiers
from shared.consent_conditions import GRANTS
from shared.consent_rule import DENIALS
from shared.errors import CustomerError, InvalidInput
from shared.events.consent import DecisionRecorded, KnownAge, NoticeShown, Outcome, ParentalAuthorisation
from shared.ids import to_text
from shared.instants import from_timestamp, to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness, refusal_message
from shared.rpc.server import seconds_left

SHA256: Final = re.compile("[0-9a-f]{64}")
FILE_DIGITS: Final = 40  # of a file's keyed hash; as many again are left for a place in it
OUTCOMES: Final[dict[Outcome, pb.Outcome.ValueType]] = {
    "granted": pb.OUTCOME_GRANTED,
    "refused": pb.OUTCOME_REFUSED,
    "withdrawn": pb.OUTCOME_WITHDRAWN,
    "objected": pb.OUTCOME_OBJECTED,
    "opted_out": pb.OUTCOME_OPTED_OUT,
    "opted_in": pb.OUTCOME_OPTED_IN,
    "limited": pb.OUTCOME_LIMITED,
    "restricted": pb.OUTCOME_RESTRICTED,
    "restriction_lifted": pb.OUTCOME_RESTRICTION_LIFTED,
    "age_known": pb.OUTCOME_AGE_KNOWN,
    "age_taken_back": pb.OUTCOME_AGE_TAKEN_BACK,
}
DECISIONS_AT_MOST: Final = 500  # of a batch: one transaction, and a message of the broker for each
OUTCOME_NAMES: Final = {value: name for name, value in OUTCOMES.items() if name in GRANTS or name in DENIALS}  # what is taken


class ConsentApi(consent_pb2_grpc.ConsentServiceServicer):
    def __init__(self, consent: Consent, checks: Checks, progress: Progress, lookup_key: bytes) -> None:
        self._consent = consent
        self._checks = checks
        self._together = Together(checks.check_each)
        self._audiences = Audiences(checks, progress, lookup_key)
        self._progress = progress
        self._lookup_key = lookup_key

    async def RecordDecision(self, request: pb.RecordDecisionRequest, context: Any) -> pb.RecordDecisionResponse:
        command = to_command(request, self._lookup_key)
        placed, readers = await self._consent.record_decision(command, seconds_left(context))
        early = await self._consent.asked_too_early([placed])
        return pb.RecordDecisionResponse(
            decision_id=to_text(placed.event.decision_id),
            position=position(placed.pos),
            enforcing_readers=readers,
            asked_too_early=bool(early),
        )

    async def RecordDecisions(self, request: pb.RecordDecisionsRequest, context: Any) -> pb.RecordDecisionsResponse:
        prefix = _of_file(request.file_sha256, self._lookup_key)
        commands = await each(request.decisions, lambda one: to_command(one, self._lookup_key, prefix), DECISIONS_AT_MOST)
        results, readers = await self._consent.record_decisions(commands, seconds_left(context))
        early = await self._consent.asked_too_early([one for one in results if not isinstance(one, CustomerError)])
        return pb.RecordDecisionsResponse(results=[_recorded(one, early) for one in results], enforcing_readers=readers)

    async def Check(self, request: pb.CheckRequest, context: Any) -> pb.CheckResponse:
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        one, instant = named(request.customer, self._lookup_key), asked_instant(request)
        check = self._together.check(request.purpose, one) if instant == NOW else self._checks.check(request.purpose, one, instant)
        return verdict_message(await check)

    async def CheckBatch(self, request: pb.CheckBatchRequest, context: Any) -> pb.CheckBatchResponse:
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        customers = await named_each(request.customers, self._lookup_key)
        results = await self._checks.check_each(request.purpose, customers, asked_instant(request))
        return pb.CheckBatchResponse(results=[_result(one) for one in results])

    def FilterAudience(self, requests: Any, context: Any) -> AsyncGenerator[pb.FilterAudienceResponse, None]:
        return self._audiences.filtered(requests)

    async def ListDecisions(self, request: pb.ListDecisionsRequest, context: Any) -> pb.ListDecisionsResponse:
        value_hash = self._hash(request.identifier)
        decisions = await self._consent.decisions_of(value_hash, asked_instant(request))
        early = await self._consent.asked_too_early(decisions)
        how = ""
        if request.HasField("customer"):
            how = await self._checks.belonging(named(request.customer, self._lookup_key), value_hash)
        return pb.ListDecisionsResponse(decisions=[decision_message(placed, early) for placed in decisions], belonging=how)

    def _hash(self, identifier: Identifier) -> bytes:
        return identifiers.name_and_hash(identifier.namespace, identifier.value, self._lookup_key)[1]


def _of_file(sha256: str, lookup_key: bytes) -> str:
    """What request ids begin with. Raises InvalidInput (FILE_SHA256_INVALID)."""
    if not sha256:
        return ""
    if not SHA256.fullmatch(sha256):
        raise InvalidInput("a file is named by its SHA-256, 64 hexadecimal digits", reason="FILE_SHA256_INVALID")
    keyed = hmac.digest(lookup_key, b"decisions of a file" + bytes.fromhex(sha256), hashlib.sha256).hex()
    return f"import-{keyed[:FILE_DIGITS]}-"


def to_command(request: pb.RecordDecisionRequest, lookup_key: bytes, prefix: str = "") -> ledger.RecordDecision:
    namespace, value_hash = identifiers.name_and_hash(request.identifier.namespace, request.identifier.value, lookup_key)
    return ledger.RecordDecision(
        request_id=prefix + request.request_id if request.request_id else "",
        identifier_hash=value_hash,
        namespace=namespace,
        purpose=request.purpose,
        outcome=_outcome(request.outcome),
        decided_at=from_timestamp(request.decide_time) if request.HasField("decide_time") else None,
        method=request.method,
        confirmed=request.confirmed,
        attested_age=request.attested_age,
        notice=notice_named(request.notice) if request.HasField("notice") else None,
        proof_sha256=sha256_named(request.proof_sha256),
        authorised=_authorised(request.parental_authorisation, lookup_key) if request.HasField("parental_authorisation") else None,
    )


def _authorised(given: pb.ParentalAuthorisation, lookup_key: bytes) -> ParentalAuthorisation:
    _, guardian_hash = identifiers.name_and_hash(given.guardian.namespace, given.guardian.value, lookup_key)
    return ParentalAuthorisation(guardian_hash=guardian_hash, verified_by=given.verified_by)


def _outcome(value: pb.Outcome.ValueType) -> Outcome:
    if (name := OUTCOME_NAMES.get(value)) is None:
        raise InvalidInput("a decision has an outcome", reason="OUTCOME_MISSING")
    return name


def verdict_message(checked: Checked) -> pb.CheckResponse:
    verdict = checked.verdict
    return pb.CheckResponse(
        permitted=verdict.permitted,
        reason=verdict.reason,
        state=verdict.state,
        decision_id=to_text(verdict.decision_id) if verdict.decision_id else "",
        purpose_version=checked.purpose.event.version,
        valid_until_time=None if checked.valid_until is None else to_timestamp(checked.valid_until),
        evidence=[position(pos) for pos in checked.evidence],
        purpose_position=position(checked.purpose.pos),
        purpose_sha256=checked.purpose_sha256.hex(),
        ask_again_time=to_timestamp(verdict.ask_again_at) if verdict.ask_again_at else None,
    )


def _recorded(outcome: Placed[DecisionRecorded] | CustomerError, early: Collection[bytes]) -> pb.RecordResult:
    if isinstance(outcome, CustomerError):
        return pb.RecordResult(refusal=refusal_message(outcome))
    decision_id = outcome.event.decision_id
    return pb.RecordResult(decision_id=to_text(decision_id), position=position(outcome.pos), asked_too_early=decision_id in early)


def _result(outcome: Checked | CustomerError) -> pb.CheckResult:
    if isinstance(outcome, CustomerError):
        return pb.CheckResult(refusal=refusal_message(outcome))
    return pb.CheckResult(verdict=verdict_message(outcome))


def decision_message(placed: Placed[DecisionRecorded], early: Collection[bytes] = ()) -> pb.Decision:
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
        attested_age=decision.attested_age,
        notice=_notice_shown(decision.notice) if decision.notice else None,
        proof_sha256=decision.proof_sha256.hex(),
        confirm_by_time=to_timestamp(decision.confirm_by) if decision.confirm_by else None,
        confirms=to_text(decision.confirms) if decision.confirms else "",
        signal_id=to_text(decision.signal_id) if decision.signal_id else "",
        because=decision.because,
        asked_too_early=decision.decision_id in early,
        restriction=restriction_message(decision.restriction) if decision.restriction else None,
        age=_age(decision.age) if decision.age else None,
        parental_authorisation=_authorisation(decision.authorised) if decision.authorised else None,
    )


def _age(age: KnownAge) -> pb.KnownAge:
    corrects = to_text(age.corrects) if age.corrects else ""
    follows = to_text(age.follows) if age.follows else ""
    return pb.KnownAge(
        under=age.under,
        at_least=age.at_least,
        corrects=corrects,
        recorded_by=age.by,
        reason=age.reason,
        guardian_hash=age.guardian_hash.hex(),
        follows=follows,
    )


def _authorisation(given: ParentalAuthorisation) -> pb.ParentalAuthorisation:
    return pb.ParentalAuthorisation(guardian_hash=given.guardian_hash.hex(), verified_by=given.verified_by)


def notice_named(notice: pb.NoticeShown) -> ledger.NoticeNamed:
    return ledger.NoticeNamed(notice.name, min(notice.version, MOST_VERSIONS), notice.locale)


def _notice_shown(notice: NoticeShown) -> pb.NoticeShown:
    return pb.NoticeShown(name=notice.name, version=notice.version, locale=notice.locale, sha256=notice.sha256.hex())
