"""Two clicks through the real service and the command."""

import asyncio
import json
from typing import Any
from uuid import uuid4

from c360.consent.v1 import confirmation_pb2 as pb
from c360.consent.v1 import consent_pb2
from c360.consent.v1.confirmation_pb2_grpc import ConfirmationServiceStub
from c360.consent.v1.registry_pb2 import LEGAL_BASIS_CONSENT

from tests.live.command import Command
from tests.live.consent_shop import DEADLINE_S, Shop, an_email, refusal


async def test_what_two_clicks_grant_is_permitted_and_both_are_kept(shop: Shop) -> None:
    anna, name = an_email(), f"offers_{uuid4().hex}"
    await shop.define_purpose(name, legal_basis=LEGAL_BASIS_CONSENT, traits=["email"], double_opt_in=True)
    run = Command(shop.stack.data_directory).run

    async def c360(*arguments: str, **more: Any) -> Any:
        done = await asyncio.to_thread(run, *arguments, "--json", **more)
        return json.loads(done.stdout) if done.stdout else done.stderr.partition(":")[0]

    asked = await c360("consent", "request-confirmation", f"email:{anna.value}", name, "--method", "form", "--days", "2")
    assert (await shop.check(name, identifier=anna)).reason == "CONSENT_UNCONFIRMED"
    confirmed = await c360("consent", "confirm", asked["token"], "--method", "link")
    assert (await shop.check(name, identifier=anna)).decision_id == confirmed["decision_id"]
    first, second = await shop.decisions(anna)
    assert (first.decision_id, first.method, first.confirmed) == (asked["decision_id"], "form", False)
    assert first.confirm_by_time.seconds - first.decide_time.seconds == 2 * 86_400
    assert (second.confirms, second.method, second.confirmed) == (first.decision_id, "link", True)
    calls: Any = ConfirmationServiceStub(shop.channel)
    again = pb.ConfirmRequest(request_id=str(uuid4()), token=asked["token"])
    assert await refusal(calls.Confirm(again, timeout=DEADLINE_S)) == ("FAILED_PRECONDITION", "CONFIRMATION_USED")
    decision = consent_pb2.RecordDecisionRequest(
        request_id=str(uuid4()), identifier=anna, purpose="marketing", outcome=consent_pb2.OUTCOME_GRANTED
    )
    unasked = calls.RequestConfirmation(pb.RequestConfirmationRequest(decision=decision), timeout=DEADLINE_S)
    assert await refusal(unasked) == ("FAILED_PRECONDITION", "NO_DOUBLE_OPT_IN")
