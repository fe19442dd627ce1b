"""What events carry of a person's choice, from the doors to the check that goes by it."""

import json
import os
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier, Position
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import signals_pb2
from c360.consent.v1.signals_pb2_grpc import SignalServiceStub

from services.stack.stack import Stack
from shared.events.signals import SignalKind
from shared.events.wire import Statement
from shared.instants import SECOND, now_us
from shared.log import LogWriter
from shared.store.pool import open_pool
from tests.e2e.client import DEADLINE_S, Platform
from tests.live.consent_shop import Shop
from tests.live.ingesting import basic

NO_LETTERS = '{"Newsletters":false}'


def a_browser() -> Identifier:
    return Identifier(namespace="anonymous_id", value=uuid4().hex)


async def says(
    shop: Shop, browser: Identifier, *signals: tuple[SignalKind, str], at: int, times: int = 1, event_id: bytes = b""
) -> Position:
    said = Statement(
        event_id=event_id or os.urandom(16),
        identifier_hash=shop.hash_of(browser),
        namespace=browser.namespace,
        source="shop",
        happened_at=at,
        signals=list(signals),
    )
    return await shop.publish(statements=[said] * times)


async def kept(shop: Shop, browser: Identifier, *fresh: Position) -> list[signals_pb2.Signal]:
    await shop.calls.CheckBatch(
        pb.CheckBatchRequest(purpose="advertising", customers=[CustomerRef(identifier=browser)], at_least_as_fresh=fresh),
        timeout=DEADLINE_S,
    )
    request = signals_pb2.ListSignalsRequest(identifier=browser)
    return list((await shop.signals.ListSignals(request, timeout=DEADLINE_S)).signals)


async def test_what_is_said_again_is_kept_once_and_what_is_said_anew_decides(shop: Shop) -> None:
    browser, now = a_browser(), now_us()
    await shop.founded(browser)
    await says(shop, browser, ("gpc", "1"), at=now - 5 * SECOND, times=2)
    position = await says(shop, browser, ("gpc", "1"), ("category_preferences", NO_LETTERS), at=now - 4 * SECOND)
    verdict = await shop.check("advertising", position, identifier=browser)
    assert (verdict.permitted, verdict.reason) == (False, "OPTED_OUT")
    told = await kept(shop, browser)
    assert [(one.text, one.source, one.method) for one in told] == [("1", "shop", "event"), (NO_LETTERS, "shop", "event")]
    [decision] = await shop.decisions(browser)
    assert decision.decide_time.ToMicroseconds() == now - 5 * SECOND, "when it was said first"
    lifted = await shop.decide(browser, "advertising", pb.OUTCOME_GRANTED)
    position = await says(shop, browser, ("gpc", "1"), at=now_us())
    assert await kept(shop, browser, position) == told
    assert (await shop.check("advertising", position, lifted.position, identifier=browser)).permitted, "the header said nothing new"


async def test_late_events_change_nothing_of_what_stands(shop: Shop) -> None:
    browser, now = a_browser(), now_us()
    await shop.founded(browser)
    for seconds in (1, 9):
        await says(shop, browser, ("usp", "1YYN"), at=now - seconds * SECOND)
    late = os.urandom(16)
    for _ in range(2):  # heard again, after a crash, it has no second effect
        position = await says(shop, browser, ("usp", "1NNN"), at=now - 5 * SECOND, event_id=late)
    texts = [one.text for one in await kept(shop, browser, position)]
    assert texts == ["1YYN", "1YYN", "1NNN"], "of what came late, each choice with its own instant"
    assert not (await shop.check("advertising", position, identifier=browser)).permitted


async def test_a_process_that_was_fenced_hears_all_the_same(shop: Shop) -> None:
    browser = a_browser()
    await shop.founded(browser)
    pool = await open_pool(shop.stack.environment_of("consent")["C360_DATABASE_URL"], "consent")
    await LogWriter(pool, [0], now_us).claim()
    await pool.close()
    position = await says(shop, browser, ("gpc", "1"), at=now_us())
    assert [one.text for one in await kept(shop, browser, position)] == ["1"]


async def test_what_is_said_while_nobody_hears_is_heard_once_afterwards(shop: Shop) -> None:
    browser = a_browser()
    await shop.founded(browser)
    shop.stack.kill("consent")
    for _ in range(2):
        position = await says(shop, browser, ("gpc", "1"), at=now_us())
    shop.stack.wait_ready("consent")
    assert [one.text for one in await kept(shop, browser, position)] == ["1"]


async def test_what_nobody_can_read_stops_nobody(shop: Shop) -> None:
    browser = a_browser()
    await shop.founded(browser)
    position = await says(shop, browser, ("tcf", "no string"), ("gpc", "1"), at=now_us())
    assert [one.text for one in await kept(shop, browser, position)] == ["1"]


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/v1/cloudevents"])
def test_a_browser_that_says_gpc_is_heeded_whichever_the_door(stack: Stack, path: str) -> None:
    ids = {"userId": f"u-{uuid4().hex}", "anonymousId": uuid4().hex}
    consent = {"categoryPreferences": {"Newsletters": False, "Maps": True}, "tcString": None}
    call = {"type": "track", "event": "Seen", "context": {"consent": consent}} | ids
    bodies: dict[str, Any] = {
        "/v1/batch": {"batch": [call]},
        "/v1/cloudevents": {"specversion": "1.0", "id": uuid4().hex, "source": "s", "type": "c360.track", "data": call},
    }
    kind = "application/cloudevents+json" if path.endswith("cloudevents") else "application/json"
    with Platform(stack.endpoints) as platform, grpc.insecure_channel(stack.endpoints.consent) as channel:
        head = basic(platform.register_source(f"gpc-{uuid4().hex[:8]}")) | {"sec-gpc": "1", "content-type": kind}
        answer = httpx.post(platform.url + path, headers=head, content=json.dumps(bodies.get(path, call)), timeout=DEADLINE_S)
        assert answer.status_code == 200, answer.text
        fresh = Position(log="ingest", number=int(answer.json()["position"].rpartition("/")[2]))
        user, browser = (
            Identifier(namespace=name, value=ids[key]) for name, key in (("user_id", "userId"), ("anonymous_id", "anonymousId"))
        )
        request = pb.CheckRequest(purpose="advertising", customer=CustomerRef(identifier=user), at_least_as_fresh=[fresh])
        verdict = platform.consent.Check(request, timeout=DEADLINE_S)
        assert (verdict.permitted, verdict.reason) == (False, "OPTED_OUT"), "it is of the whole person"
        listed = SignalServiceStub(channel).ListSignals(signals_pb2.ListSignalsRequest(identifier=browser), timeout=DEADLINE_S)
        assert [one.text for one in listed.signals] == ["1", '{"Maps":true,"Newsletters":false}']
