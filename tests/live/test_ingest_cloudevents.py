"""CloudEvents over HTTP, made by the library of their authors, unmodified."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from services.stack.stack import Stack
from tests.live.ingesting import Door, basic

PATH = "/v1/cloudevents"
BATCH = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}


@pytest.fixture(scope="module")
def door(servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    opened = Door(servers, tmp_path_factory.mktemp("ingest") / "log")
    yield opened
    assert opened.stop() == 0, opened.log.read_text()


@pytest.fixture
async def http(door: Door) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=door.http, headers=basic(door.write_key), timeout=20) as client:
        yield client


def event(data: Any = None, **attributes: Any) -> CloudEvent:
    given = {"id": str(uuid4()), "source": "/shop/über", "type": "com.example.order", "specversion": "1.0", "userid": "ann müller"}
    moment = datetime(2026, 3, 3, 12, tzinfo=UTC)
    return CloudEvent(given | {"time": moment, "datacontenttype": "application/json"} | attributes, data or {"total": 12.5})


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
async def test_an_event_is_stored_as_the_call_that_it_means(door: Door, http: httpx.AsyncClient, write: Any) -> None:
    sent = event()
    message = write(sent)
    answer = await http.post(PATH, content=message.body, headers=message.headers)
    assert answer.status_code == 200, answer.text
    [stored] = await door.message_at(answer.json()["position"])
    assert (stored.kind, stored.name, stored.user_id) == ("track", "com.example.order", "ann müller")
    assert (stored.properties, stored.message_id) == ({"total": 12.5}, f"/shop/über {sent.get_id()}")
    assert stored.extra["cloudevent"]["source"] == "/shop/über"
    assert answer.json()["results"] == [{"messageId": stored.message_id, "status": "accepted"}]


async def test_a_batch_gets_a_verdict_for_each(http: httpx.AsyncClient) -> None:
    items = [json.loads(to_structured_event(given).body) for given in (event(), event(userid=""), event())]
    answer = await http.post(PATH, content=json.dumps([*items, 7]), headers=BATCH)
    reasons = [result.get("reason") for result in answer.json()["results"]]
    assert (answer.status_code, reasons) == (200, [None, "IDS_MISSING", None, "CLOUDEVENT_INVALID"])
    assert (await http.post(PATH, content="[]", headers=BATCH)).json() == {"success": True, "results": []}


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({}, b"{}", "CLOUDEVENT_INVALID"),
        ({"content-type": "application/cloudevents+json"}, b"{", "JSON_BROKEN"),
        ({"content-type": "application/cloudevents+json"}, b"[]", "CLOUDEVENT_INVALID"),
        ({"content-type": "application/cloudevents+avro"}, b"", "CLOUDEVENT_INVALID"),
        (BATCH, b"{}", "BODY_INVALID"),
        (BATCH, b"[", "JSON_BROKEN"),
        (BATCH, b"[" + b"1," * 2_500 + b"1]", "BATCH_TOO_LONG"),
        (to_binary_event(event(userid="")).headers, b"{}", "IDS_MISSING"),
        (to_binary_event(event()).headers, b"{", "DATA_NOT_JSON"),
    ],
)
async def test_bad_input_gets_a_reason(http: httpx.AsyncClient, headers: dict[str, str], body: bytes, code: str) -> None:
    answer = await http.post(PATH, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_the_write_key_comes_as_a_bearer_token_too(door: Door) -> None:
    message = to_structured_event(event())
    async with httpx.AsyncClient(base_url=door.http, headers=message.headers) as client:
        statuses = {}
        for given in (f"Bearer {door.write_key}", "Bearer wrong", ""):
            answer = await client.post(PATH, content=message.body, headers={"authorization": given})
            statuses[given] = answer.status_code
    assert list(statuses.values()) == [200, 401, 401]


async def test_a_webhook_sender_may_ask_first(http: httpx.AsyncClient) -> None:
    answer = await http.options(PATH, headers={"webhook-request-origin": "events.example"})
    assert (answer.status_code, answer.headers["webhook-allowed-origin"]) == (200, "*")
