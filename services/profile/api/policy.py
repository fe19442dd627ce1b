"""The part of profile's gRPC edge that tells what another policy would have made of past reads."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final, get_args

from c360.profile.v1 import disclosure_pb2, policy_pb2_grpc
from c360.profile.v1 import policy_pb2 as pb

from services.profile.api.asking import customer_of
from services.profile.api.disclosures import disclosure_message, interval_of
from services.profile.api.summaries import disclosure_id, parts, summary_message
from services.profile.app import Profiles
from services.profile.cache import LoadingCache
from services.profile.clusters import joined
from services.profile.domain.policy import Change
from services.profile.domain.state import Held
from services.profile.policies import Differing, Policies, Simulated, Step
from services.profile.who_read import Wanted
from shared.errors import InvalidInput
from shared.events.consent import LegalBasis
from shared.ids import from_text, to_text
from shared.rpc.edge import instant
from shared.rpc.sending import taken_in_time

SERVICE_NAME = "c360.profile.v1.PolicyService"
CHANGES_AT_MOST: Final = 100
DAYS_AT_MOST: Final = 36_500
YEARS_AT_MOST: Final = 150
SEND_TIMEOUT_S: Final = 60.0  # for a part: who doesn't read holds up other simulations


class PolicyApi(policy_pb2_grpc.PolicyServiceServicer):
    def __init__(self, profiles: Profiles, policies: Policies, states: LoadingCache[bytes, Held]) -> None:
        self._profiles = profiles
        self._policies = policies
        self._states = states

    async def SimulatePolicy(self, request: pb.SimulatePolicyRequest, context: Any) -> AsyncIterator[pb.SimulatePolicyResponse]:
        if len(request.changes) > CHANGES_AT_MOST:
            raise InvalidInput(f"at most {CHANGES_AT_MOST} changes at once", reason="TOO_MANY_CHANGES", limit=CHANGES_AT_MOST)
        since, until = interval_of(request)
        wanted = Wanted(caller=request.caller, purpose=request.read_purpose, since=since, until=until)
        changes = [await self._change(one) for one in request.changes]
        customers = await self._customers(request) if request.HasField("customer") else set[bytes]()
        steps = self._policies.simulate(changes, wanted, customers)
        async with aclosing(taken_in_time(_responses(steps), SEND_TIMEOUT_S)) as taken:
            async for response in taken:
                yield response

    async def _customers(self, request: pb.SimulatePolicyRequest) -> set[bytes]:
        customer = await customer_of(self._profiles, request.customer)
        return {customer, *await joined([customer], self._states.get)}

    async def _change(self, change: pb.PolicyChange) -> Change:
        """Raises InvalidInput (CHANGE_INVALID, PURPOSE_UNKNOWN, DECISION_ID_INVALID, INSTANT_INVALID)."""
        since = instant(change.since_time, "since_time") if change.HasField("since_time") else 0
        which = change.WhichOneof("change")
        if which == "withdrawn_decision_id":
            return Change(since=since, withdrawn=from_text(change.withdrawn_decision_id, "decision"))
        name = self._profiles.purpose(change.purpose).name if change.purpose else ""
        _require(bool(name), "a change is of a purpose, or withdraws a decision")
        if which == "version":
            return Change(since=since, purpose=name, instead=await self._policies.version(name, change.version))
        if which == "invalid":
            _require(change.invalid, "say that it was invalid, or nothing")
            return Change(since=since, purpose=name, invalid=True)
        if which == "jurisdiction":
            _require(bool(change.jurisdiction), "name the jurisdiction")
            return Change(since=since, purpose=name, jurisdiction=change.jurisdiction)
        return Change(since=since, purpose=name, values=_values(change, which))


def _values(change: pb.PolicyChange, which: str | None) -> dict[str, Any]:
    """By field of a purpose's definition."""
    if which == "notice":
        return {"notice": change.notice.name, "notice_version": change.notice.version}
    _require(which is not None, "say how it was otherwise")
    _require(which != "legal_basis" or change.legal_basis in get_args(LegalBasis), "there is no such legal basis")
    _require(change.expires_after_days <= DAYS_AT_MOST, f"a grant counts {DAYS_AT_MOST} days at most")
    for years in (change.minimum_age, change.minors_under, change.minors_opt_in_from):
        _require(years <= YEARS_AT_MOST, f"nobody is older than {YEARS_AT_MOST} years")
    return {str(which): getattr(change, str(which))}


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidInput(message, reason="CHANGE_INVALID")


async def _responses(steps: AsyncGenerator[Step, None]) -> AsyncGenerator[pb.SimulatePolicyResponse, None]:
    async with aclosing(steps):
        found: Simulated | None = None
        async for step in steps:
            found = step.found
            for part in parts(step.differing, _differing_message):
                yield pb.SimulatePolicyResponse(reads=part, done_events=step.done, total_events=step.total, read_count=found.reads)
        if found is not None:
            yield pb.SimulatePolicyResponse(
                done_events=step.total, total_events=step.total, read_count=found.reads, report=_report_message(found)
            )


def _differing_message(differing: Differing) -> pb.DifferingRead:
    permitted = disclosure_pb2.VERDICT_PARTIAL if differing.fields else disclosure_pb2.VERDICT_PERMIT
    return pb.DifferingRead(
        disclosure=disclosure_message(differing.read),
        verdict=permitted if differing.would.permitted else disclosure_pb2.VERDICT_DENY,
        reason=differing.would.reason,
        fields=differing.fields,
        decision_ids=map(to_text, differing.would.decisions),
    )


def _report_message(found: Simulated) -> pb.PolicyReport:
    return pb.PolicyReport(
        read_count=found.reads,
        unaffected_count=found.unaffected,
        unjudged_count=found.unjudged,
        unreproduced_count=found.unreproduced,
        unreproduced_ids=map(disclosure_id, found.unreproduced_examples),
        unlawful=summary_message(found.unlawful),
        partly_unlawful=summary_message(found.partly_unlawful),
        needlessly_refused=summary_message(found.needlessly_refused),
        unmet_decision_ids=sorted(map(to_text, found.unmet)),
    )
