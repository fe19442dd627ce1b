"""Replies to text messages, from a gateway's signed request to the check that goes by them."""

import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2, registry_pb2, signals_pb2

from services.consent.http.signatures import SIGNATURE, TIMESTAMP, signature_of
from tests.live.consent_shop import DEADLINE_S, Shop

SECRET = "a secret of the gateway and ours".replace(" ", "-")


def a_number() -> str:
    return f"+49301{uuid4().int % 10**7:07}"


async def reply(shop: Shop, number: str, text: str, secret: str = SECRET, **more: Any) -> httpx.Response:
    Path(shop.stack.environment_of("consent")["C360_SMS_SECRETS_FILE"]).write_text(SECRET)
    body = json.dumps({"From": number, "Body": text, "MessageSid": str(uuid4())} | more).encode()
    now = str(int(time.time()))
    head = {"content-type": "application/json", TIMESTAMP: now, SIGNATURE: signature_of(secret, now, body)}
    async with httpx.AsyncClient(timeout=DEADLINE_S) as http:
        return await http.post(shop.stack.endpoints.consent_http + "/replies/sms", content=body, headers=head)


async def texts_purpose(shop: Shop) -> str:
    """One that STOP withdraws, by the mapping that all replies are read by."""
    name = f"texts_{uuid4().hex}"
    await shop.define_purpose(name, legal_basis=registry_pb2.LEGAL_BASIS_CONSENT, traits=["phone"])
    of_signals = registry_pb2.GetVersionAtRequest(kind=registry_pb2.DEFINITION_KIND_MAPPING, name="signals")
    held = await shop.registry.GetVersionAt(of_signals, timeout=DEADLINE_S)
    mapping = registry_pb2.Mapping(document=json.dumps(json.loads(held.definition.mapping.document) | {"stop": [name]}))
    definition = registry_pb2.Definition(name="signals", defined_by="ops", reason="texts", mapping=mapping)
    await shop.registry.Define(registry_pb2.DefineRequest(request_id=str(uuid4()), definition=definition), timeout=DEADLINE_S)
    return name


async def test_who_replies_stop_has_withdrawn_once_however_often_it_is_handed_over(shop: Shop) -> None:
    purpose, number = await texts_purpose(shop), a_number()
    phone = Identifier(namespace="phone", value=number)
    await shop.decide(phone, purpose, consent_pb2.OUTCOME_GRANTED)
    first = await reply(shop, number, " Stop. ", MessageSid="m-" + number)
    assert (first.status_code, first.json()["decisions"]) == (200, [{"purpose": purpose, "outcome": "withdrawn"}])
    again = await reply(shop, number, " Stop. ", MessageSid="m-" + number)
    assert (again.status_code, again.json()) == (200, first.json())
    other = await reply(shop, number, "START", MessageSid="m-" + number)
    assert (other.status_code, other.json()["code"]) == (409, "REQUEST_ID_REUSED")
    assert (await shop.check(purpose, identifier=phone)).reason == "CONSENT_WITHDRAWN"
    unclear = await reply(shop, number, "please stop this")
    assert (unclear.json()["decisions"], unclear.json()["unread"]) == ([], ["sms: UNCLEAR"])
    kept = await shop.signals.ListSignals(signals_pb2.ListSignalsRequest(identifier=phone), timeout=DEADLINE_S)
    assert [one.text for one in kept.signals] == [" Stop. ", "please stop this"]


async def test_every_refusal_has_its_status_and_nothing_of_a_reply_stands_in_a_log(shop: Shop) -> None:
    number, canary = a_number(), f"canary-{uuid4().hex}"
    answers = {
        "SIGNATURE_INVALID": await reply(shop, number, canary, secret="x" * 32),
        "IDENTIFIER_INVALID": await reply(shop, canary, "STOP"),
        "SIGNAL_TOO_LONG": await reply(shop, number, canary + "x" * 1_600),
        "BODY_TOO_LARGE": await reply(shop, number, "x" * 17_000),
        "REPLY_INVALID": await reply(shop, number, canary, Body=1),
    }
    assert {reason: answer.json()["code"] for reason, answer in answers.items()} == {reason: reason for reason in answers}
    assert [answer.status_code for answer in answers.values()] == [401, 400, 400, 400, 400]
    async with httpx.AsyncClient(timeout=DEADLINE_S) as http:
        unsigned = await http.post(shop.stack.endpoints.consent_http + "/replies/sms", content=b"{}")
        assert (unsigned.status_code, unsigned.json()["code"]) == (401, "SIGNATURE_MISSING")
        assert (await http.get(shop.stack.endpoints.consent_http + "/replies/sms")).status_code == 405
    await reply(shop, number, canary)
    log = (Path(shop.stack.data_directory) / "logs" / "consent.log").read_text()
    assert not any(told in log for told in (number, canary, SECRET))
    assert not any(told in answer.text for answer in answers.values() for told in (number, canary))
