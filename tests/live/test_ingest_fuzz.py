"""Whatever comes over HTTP, the door answers 200 or says in JSON what is wrong; never 5xx, never in a way SDKs retry for ever."""

import gzip
import json
from collections.abc import Iterator
from uuid import uuid4

import grpc
import httpx
import msgspec
import pytest
from c360.ingest.v1 import plan_pb2, plan_pb2_grpc
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.ingest.domain.call import Call
from services.stack.stack import Stack
from tests.live.ingesting import Door, basic

KINDS = ["identify", "track", "page", "screen", "group", "alias"]
PATHS = [f"/v1/{kind}" for kind in KINDS] + ["/v1/batch", "/v1/b", "/beacon/v1/batch", "/v1/cloudevents"]
OTHER_PATHS = ["/health", "/sourceConfig", "/v1/projects/x/settings", "/v1", "/", "/v1/batch/x", "/%00", "/v1/projects//settings"]
FIELDS = [field.encode_name for field in msgspec.structs.fields(Call) if field.encode_name not in ("", "type", "userId")]
TIMES = ["2026-03-03T12:00:00Z", "2026-03-03T12:00:00.123456789+23:59", "0001-01-01", "+292278994-08-17T07:12:55Z", "", "24:00"]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(TIMES)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from([*FIELDS, "device", "id"]), inner, max_size=4)
    ),
    max_leaves=10,
)
calls = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS), "userId": st.text(min_size=1)}, optional=dict.fromkeys(FIELDS, values)
)
batches = st.fixed_dictionaries(
    {"batch": st.lists(calls | values, max_size=5)},
    optional={"context": values, "integrations": values, "sentAt": values, "writeKey": values},
)
documents = (calls | batches | values).map(lambda value: json.dumps(value).encode())


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, str]:
    """(body, content encoding): right, cut, changed at one place, or anything; packed or not, and sometimes said wrongly."""
    body = draw(documents | st.binary(max_size=300))
    if body and draw(st.booleans()):
        at = draw(st.integers(0, len(body) - 1))
        body = draw(st.sampled_from([body[:at], body[:at] + draw(st.binary(min_size=1, max_size=3)) + body[at + 1 :]]))
    packed = draw(st.booleans())
    encoding = draw(
        st.sampled_from(["gzip"] if packed else ["", "identity"]) | st.sampled_from(["gzip", "br", "GZIP", "gzip, gzip"])
    )
    return gzip.compress(body, 1) if packed else body, encoding


heads = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            ["application/json", "text/plain", "application/cloudevents+json", "application/cloudevents-batch+json", ";"]
        ),
        "authorization": st.sampled_from(["", "Basic", "Basic Og==", "Basic =", "Bearer x", "Bearer", "Basic \xff"]),
        "x-request-id": st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=200).map(
            str.strip  # no client sends blanks at the edges
        ),
        "x-forwarded-proto": st.sampled_from(["https", "x"]),
        "origin": st.sampled_from(["https://shop.example", "null"]),
        "host": st.sampled_from(["shop.example:99999", "[", "a b", ""]),
        "ce-id": st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
        "ce-specversion": st.sampled_from(["1.0", "0.3", "%"]),
        "ce-type": st.sampled_from(["c360.track", "%E4%", "x"]),
        "ce-source": st.sampled_from(["/shop", ""]),
        "ce-time": st.sampled_from(TIMES),
    },
)

PLAN = {
    "events": {"e": {"properties": {"properties": {"n": {"type": "number", "minimum": 0}}, "required": ["n"]}}},
    "traits": {"identify": {"properties": {"id": {"type": "integer"}}}},
    "standardisation": {
        "match": "loose",
        "languages": ["en", "de"],
        "traits": {
            "device": {"from": ["id"], "as": "enumeration", "values": {"phone": ["Handy"]}},
            "country": {"from": ["timestamp"], "as": "country"},
            "since": {"from": ["context"], "as": "date", "formats": ["%d.%m.%Y"]},
            "age": {"from": ["event"], "as": "integer"},
        },
    },
    "rules": {
        "schema_violation": "quarantine",
        "unplanned_event": "quarantine",
        "unplanned_property": "flag",
        "unplanned_trait": "block",
        "coercion_failed": "quarantine",
    },
}


@pytest.fixture(scope="module")
def door(servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    opened = Door(servers, tmp_path_factory.mktemp("ingest") / "log")
    yield opened
    assert opened.stop() == 0, opened.log.read_text()


@pytest.fixture(scope="module")
def keys(door: Door) -> dict[str, str]:
    """Write keys of a source that is held to nothing, and of one whose plan has something to say of nearly all that comes."""
    registered = door.register(f"planned-{uuid4()}")
    request = plan_pb2.PublishPlanRequest(request_id=str(uuid4()), source=registered.source.name, document=json.dumps(PLAN))
    with grpc.insecure_channel(door.grpc) as channel:
        plan_pb2_grpc.PlanServiceStub(channel).PublishPlan(request, timeout=10)
    return {"plain": door.write_key, "planned": registered.write_key}


@pytest.fixture(scope="module")
def client(door: Door) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=door.http, timeout=30) as made:
        yield made


def check(door: Door, answer: httpx.Response) -> None:
    assert answer.status_code < 500, (answer.text, door.log.read_text()[-2000:])
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400:
        assert answer.json()["code"]
        assert answer.json()["message"]
    if answer.status_code == 429:
        assert int(answer.headers["retry-after"]) >= 1


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(PATHS), body=bodies(), head=heads, sender=st.sampled_from(["nobody", "plain", "planned"]))
@example(path="/v1/track", body=(b'{"userId":' + b"9" * 5_000 + b"}", ""), head={}, sender="plain")
@example(
    path="/v1/track", body=(b'{"event":"e","userId":"u","properties":{"n":' + b"9" * 5_000 + b"}}", ""), head={}, sender="plain"
)
@example(path="/v1/track", body=(b'{"event":"e","userId":"u","properties":{"n":1e999}}', ""), head={}, sender="plain")
@example(path="/v1/track", body=(b'{"event":"e","userId":"\\ud800","properties":{"n":"\\udfff"}}', ""), head={}, sender="plain")
@example(path="/v1/batch", body=(b'{"batch":[{"type":"track","event":"e","userId":"\\u0000"}]}', ""), head={}, sender="plain")
@example(path="/v1/track", body=(b'{"userId":"u","event":"e","properties":{"n":"x"}}', ""), head={}, sender="planned")
@example(path="/v1/identify", body=(b'{"userId":"u","traits":{"DeVice":"x","id":1e999}}', ""), head={}, sender="planned")
@example(path="/v1/batch", body=(gzip.compress(b"{}") * 2, "gzip"), head={}, sender="plain")
def test_no_body_and_no_head_gets_a_500(
    door: Door, client: httpx.Client, keys: dict[str, str], path: str, body: tuple[bytes, str], head: dict[str, str], sender: str
) -> None:
    headers = {name: value.encode("latin-1") for name, value in head.items()}
    headers |= {"content-encoding": body[1].encode()} if body[1] else {}
    headers |= {name: value.encode() for name, value in basic(keys[sender]).items()} if sender in keys else {}
    check(door, client.post(path, content=body[0], headers=[(name.encode(), value) for name, value in headers.items()]))


@given(
    target=st.sampled_from([*PATHS, *OTHER_PATHS])
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30).map("/".__add__),
    method=st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "POST"]),
    query=st.sampled_from(["", "?writeKey=", "?writeKey=%FF%00", "?writeKey=%", "?&=&;", "?writeKey=a&writeKey=b", "#x"]),
)
def test_no_path_and_no_method_gets_a_500(door: Door, client: httpx.Client, target: str, method: str, query: str) -> None:
    answer = client.request(method, door.http, extensions={"target": (target + query).encode()})
    if method == "HEAD":
        assert answer.status_code < 500
    else:
        check(door, answer)


def test_nothing_that_came_was_unforeseen(door: Door) -> None:
    assert '"unforeseen error"' not in door.log.read_text()
    assert "Traceback" not in door.log.read_text()
