"""Verdicts with what they follow from, through the real service and the command."""

import asyncio
import json
from typing import Any
from uuid import uuid4

from c360.common.v1.common_pb2 import CustomerRef
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1.registry_pb2 import LEGAL_BASIS_CONSENT, LEGAL_BASIS_CONTRACT
from google.protobuf.timestamp_pb2 import Timestamp

from shared.bus.enforcement import LEASE_S
from shared.instants import SECOND, from_timestamp, now_us, to_timestamp
from tests.live.command import Command
from tests.live.consent_shop import DEADLINE_S, Shop, an_email


async def test_a_verdict_says_what_it_follows_from_and_how_long_it_may_be_used(shop: Shop) -> None:
    anna, name = an_email(), f"offers_{uuid4().hex}"
    defined = await shop.define_purpose(name, legal_basis=LEGAL_BASIS_CONSENT, traits=["email"], expires_after_days=1)
    missing = await shop.check(name, identifier=anna)
    assert (list(missing.evidence), missing.purpose_position) == ([], defined.position)
    soon = now_us() + SECOND  # it expires before a verdict may be used no longer
    granted = await shop.decide(anna, name, pb.OUTCOME_GRANTED, decide_time=to_timestamp(soon - 86_400 * SECOND))
    checked = await shop.check(name, identifier=anna)
    assert list(checked.evidence) == [granted.position]
    assert len(bytes.fromhex(checked.purpose_sha256)) == 32
    if checked.permitted:
        assert from_timestamp(checked.valid_until_time) == soon
    before = now_us()
    denied = await shop.check("analytics", identifier=anna)
    assert before < from_timestamp(denied.valid_until_time) <= now_us() + LEASE_S * SECOND
    then = pb.CheckRequest(purpose="marketing", customer=CustomerRef(identifier=anna), known_at=to_timestamp(now_us()))
    assert not (await shop.calls.Check(then, timeout=DEADLINE_S)).HasField("valid_until_time")


async def test_a_verdict_is_explained_and_its_change_is_too(shop: Shop) -> None:
    anna, bernd, name = an_email(), an_email(), f"offers_{uuid4().hex}"
    run = Command(shop.stack.data_directory).run

    async def told(command: str, *options: str) -> Any:
        arguments = ("consent", command, f"email:{anna.value}", name, *options, "--json")
        return json.loads((await asyncio.to_thread(run, *arguments)).stdout)

    await shop.define_purpose(name, legal_basis=LEGAL_BASIS_CONSENT, traits=["email"])
    customer, founded = await shop.founded(anna, bernd)
    first = await shop.decide(anna, name, pb.OUTCOME_GRANTED, decide_time=Timestamp(seconds=1_700_000_000))
    await shop.check(name, founded, identifier=anna)
    between = to_timestamp(now_us()).ToJsonString()
    second = await shop.decide(bernd, name, pb.OUTCOME_WITHDRAWN)
    explained = (await told("explain"))["explanation"]
    assert (explained["permitted"], explained["reason"]) == (False, "CONSENT_WITHDRAWN")
    assert [(one["decision"]["decision_id"], one["role"]) for one in explained["decisions"]] == [
        (second.decision_id, "DECIDES"),
        (first.decision_id, "OLDER"),
    ]
    hashes = {shop.hash_of(anna).hex(), shop.hash_of(bernd).hex()}
    assert {(one["identifier_hash"], one["customer_id"]) for one in explained["identifiers"]} == {(one, customer) for one in hashes}
    differs = await told("diff", "--from", between)
    assert (differs["before"]["reason"], differs["after"]["reason"]) == ("CONSENT_GRANTED", "CONSENT_WITHDRAWN")
    roles = {one["decision_id"]: (one["before"], one["after"]) for one in differs["changes"]}
    assert roles == {first.decision_id: ("DECIDES", "OLDER"), second.decision_id: ("", "DECIDES")}
    await shop.define_purpose(name, legal_basis=LEGAL_BASIS_CONTRACT, traits=["email"])
    changed = await told("diff", "--from", "-1h", "--clock", "happened")
    assert {one["what"] for one in changed["changes"]} >= {"purpose"}
    assert {one["role"] for one in changed["after"]["decisions"]} == {"NOBODY_ASKED"}
    shown = (await asyncio.to_thread(run, "consent", "explain", f"email:{anna.value}", name)).stdout
    assert "NOBODY_ASKED" in shown
    assert first.decision_id in shown
