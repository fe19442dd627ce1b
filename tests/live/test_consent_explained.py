"""Verdicts with what they follow from, through the real service and the command."""

import asyncio
import json
from typing import Any
from uuid import uuid4

from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import evidence_pb2
from c360.consent.v1.evidence_pb2_grpc import EvidenceServiceStub
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


async def test_who_decided_both_ways_is_listed_once_until_they_are_asked_again(shop: Shop) -> None:
    name, run = await shop.personal_purpose(), Command(shop.stack.data_directory).run

    async def listed() -> dict[str, tuple[str, str]]:
        answer = await asyncio.to_thread(run, "consent", "conflicts", name, "--json")
        return {one["customer_id"]: (one["decision_id"], one["against"]) for one in map(json.loads, answer.stdout.splitlines())}

    people: list[tuple[str, Identifier, Identifier, pb.RecordDecisionResponse, pb.RecordDecisionResponse]] = []
    for _ in range(3):
        account, device = (
            Identifier(namespace="user_id", value=uuid4().hex),
            Identifier(namespace="anonymous_id", value=uuid4().hex),
        )
        customer, position = await shop.founded(account, device)
        denied = await shop.decide(account, name, pb.OUTCOME_REFUSED)
        granted = await shop.decide(device, name, pb.OUTCOME_GRANTED)
        await shop.check(name, position, identifier=account)
        people.append((customer, account, device, granted, denied))
    await shop.decide(an_email(), name, pb.OUTCOME_GRANTED)
    await shop.decide(an_email(), name, pb.OUTCOME_WITHDRAWN)
    expected = {customer: (granted.decision_id, denied.decision_id) for customer, _, _, granted, denied in people}
    assert await listed() == expected
    for customer, (granted_id, denied_id) in expected.items():
        checked = await shop.check(name, customer_id=customer)
        assert (checked.reason, checked.decision_id) == ("CONSENT_CONFLICT", granted_id), denied_id
    pages, token = [], ""
    while True:
        asked = evidence_pb2.ListConflictsRequest(purpose=name, page_size=1, page_token=token)
        page = await EvidenceServiceStub(shop.channel).ListConflicts(asked, timeout=DEADLINE_S)
        pages += [one.customer_id for one in page.conflicts]
        token = page.next_page_token
        if not token:
            break
    assert sorted(pages) == sorted(expected)
    asked_again, account = people[0][0], people[0][1]
    await shop.decide(account, name, pb.OUTCOME_GRANTED)
    del expected[asked_again]
    assert await listed() == expected
