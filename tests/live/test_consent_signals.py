"""Signals through their real wiring: kept with what they decide, in one transaction, and told again as they were sent."""

import json
from typing import Any
from uuid import uuid4

import pytest
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2, registry_pb2
from c360.consent.v1 import signals_pb2 as pb

from tests.live.consent_shop import DEADLINE_S, Shop, refusal


def a_browser() -> Identifier:
    return Identifier(namespace="anonymous_id", value=uuid4().hex)


async def send(shop: Shop, identifier: Identifier, kind: int, text: str, **more: Any) -> pb.RecordSignalResponse:
    request = pb.RecordSignalRequest(identifier=identifier, kind=kind, text=text, **({"request_id": str(uuid4())} | more))  # type: ignore[arg-type]
    answer: pb.RecordSignalResponse = await shop.signals.RecordSignal(request, timeout=DEADLINE_S)
    return answer


async def kept(shop: Shop, identifier: Identifier, page_size: int = 50) -> list[pb.Signal]:
    request, found = pb.ListSignalsRequest(identifier=identifier, page_size=page_size), []
    while True:
        page = await shop.signals.ListSignals(request, timeout=DEADLINE_S)
        found += page.signals
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def test_a_signal_is_kept_with_what_it_decides_and_repeated_it_is_answered_alike(shop: Shop) -> None:
    browser, request_id = a_browser(), str(uuid4())
    answer = await send(shop, browser, pb.SIGNAL_KIND_GPC, " 1", source="shop", request_id=request_id)
    [decision] = answer.decisions
    assert (decision.purpose, decision.outcome, decision.because) == ("advertising", consent_pb2.OUTCOME_OPTED_OUT, "gpc")
    assert decision.signal_id == answer.signal.signal_id
    assert decision.decide_time == answer.signal.happen_time
    assert await shop.decisions(browser) == [decision]
    verdict = await shop.check("advertising", answer.position, identifier=browser)
    assert (verdict.permitted, verdict.decision_id) == (False, decision.decision_id)
    again = await send(shop, browser, pb.SIGNAL_KIND_GPC, " 1", source="shop", request_id=request_id)
    assert (again.signal, again.decisions, again.position) == (answer.signal, answer.decisions, answer.position)
    other = send(shop, browser, pb.SIGNAL_KIND_GPC, "0", source="shop", request_id=request_id)
    assert await refusal(other) == ("ABORTED", "REQUEST_ID_REUSED")
    nothing = await send(shop, browser, pb.SIGNAL_KIND_GPC, "0")
    assert not nothing.decisions, "only 1 means anything"
    assert await kept(shop, browser, 1) == [answer.signal, nothing.signal]
    assert [signal.text for signal in await kept(shop, browser)] == [" 1", "0"]


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (pb.SIGNAL_KIND_UNSPECIFIED, "1", "SIGNAL_KIND_MISSING"),
        (pb.SIGNAL_KIND_TCF, "no string", "SIGNAL_MALFORMED"),
        (pb.SIGNAL_KIND_SMS, "x" * 1_601, "SIGNAL_TOO_LONG"),
        (pb.SIGNAL_KIND_CATEGORY_PREFERENCES, '{"Advertising": 1}', "SIGNAL_MALFORMED"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_read_is_refused_and_nothing_is_kept(shop: Shop, kind: int, text: str, reason: str) -> None:
    browser = a_browser()
    assert await refusal(send(shop, browser, kind, text)) == ("INVALID_ARGUMENT", reason)
    assert await kept(shop, browser) == []
    assert await shop.decisions(browser) == []


async def test_a_shop_says_itself_what_a_signal_decides(shop: Shop) -> None:
    name, phone = f"texts_{uuid4().hex}", Identifier(namespace="phone", value=f"+49301{uuid4().int % 10**7:07}")
    await shop.define_purpose(name, legal_basis=registry_pb2.LEGAL_BASIS_CONSENT, traits=["phone"])
    for rules in ({"stop": [name]}, {"stop": [name], "start": [name]}):
        mapping = registry_pb2.Mapping(document=json.dumps(rules))
        definition = registry_pb2.Definition(name=name, defined_by="ops", reason="texts", mapping=mapping)
        request = registry_pb2.DefineRequest(request_id=str(uuid4()), definition=definition)
        defined = (await shop.registry.Define(request, timeout=DEADLINE_S)).definition
    assert (defined.version, defined.mapping.document) == (2, json.dumps(rules))
    stopped = await send(shop, phone, pb.SIGNAL_KIND_SMS, "Stop!", mapping=name)
    started = await send(shop, phone, pb.SIGNAL_KIND_SMS, "START", mapping=name)
    assert started.signal.mapping_version == 2
    assert [(one.purpose, one.outcome, one.because) for answer in (stopped, started) for one in answer.decisions] == [
        (name, consent_pb2.OUTCOME_WITHDRAWN, "sms.stop"),
        (name, consent_pb2.OUTCOME_GRANTED, "sms.start"),
    ]
    unknown = send(shop, phone, pb.SIGNAL_KIND_SMS, "STOP", mapping=uuid4().hex)
    assert await refusal(unknown) == ("INVALID_ARGUMENT", "SIGNAL_MAPPING_UNKNOWN")
    definition.mapping.document = '{"stop": ["nobody_defined_this"]}'
    of_nothing = shop.registry.Define(
        registry_pb2.DefineRequest(request_id=str(uuid4()), definition=definition), timeout=DEADLINE_S
    )
    assert await refusal(of_nothing) == ("INVALID_ARGUMENT", "PURPOSE_UNKNOWN")
