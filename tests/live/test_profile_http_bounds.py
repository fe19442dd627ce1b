"""Whatever comes over the HTTP Profile API, the answer is JSON that says what is wrong, and nobody takes more than a share."""

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.profile.__main__ import _open_http
from services.profile.app import Profiles
from services.profile.belonging import Belongings
from services.profile.composing_disclosures import Disclosures
from services.profile.composition import Parts, ProfileSettings
from services.profile.http import door as bounds
from services.profile.http.answers import ReaderProtocol
from services.profile.http.door import ProfileDoor
from services.profile.http.queries import KNOWN
from services.profile.origins import Origins
from services.profile.timelines import Timelines
from services.stack.stack import Stack
from shared.access_tokens import TokenFile
from shared.http.server import HttpServer
from shared.positions import Progress
from shared.vault import FileKeyring
from tests.e2e.client import DEADLINE_S, Platform
from tests.live.erasing import identify
from tests.live.reading import Reader, address, fresh
from tests.unrecorded import unrecorded

LATER = "ingest/0/9000000000000000000"
PIECES = [
    "v1",
    "spaces",
    "main",
    "collections",
    "users",
    "accounts",
    "profiles",
    "user_id:x",
    "%2F",
    "%00",
    "%FF",
    "",
    "..",
    "traits",
]
SOMEBODY = "user_id:somebody"
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]

anything = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
paths = st.lists(st.sampled_from(PIECES) | anything, max_size=10).map(lambda pieces: "/" + "/".join(pieces))
people = st.sampled_from(["user_id:", "email:", "x:", "", "user_id:null", "01890a5d-ac96-774b-bcce-b302099a8057"])
parts = st.sampled_from([*KNOWN])
targets = (
    paths
    | parts.map(lambda part: address(SOMEBODY, part))
    | st.builds(lambda person, value, part: address(person + value, part), people, st.text(st.characters(codec="utf-8")), parts)
)
values = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    [
        "true",
        "0",
        "1",
        "201",
        "-1",
        "1e9",
        "9" * 400,
        "2026-03-03T10:02:11Z",
        "0001-01-01",
        "9999-12-31T23:59:59Z",
        "customer/0/0",
        ",",
    ]
)
queries = st.dictionaries(st.sampled_from(sorted({"x", *(name for known in KNOWN.values() for name in known)})), values, max_size=3)
heads = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.sampled_from(
            ["*/*", "application/json;q=0", "text/html, application/*;q=0.1", ";", "", "application/json;q=x"]
        ),
        "authorization": st.sampled_from(["", "Basic", "Basic Og==", "Basic =", "Bearer x", "Bearer", "Basic \xff", "Digest x"]),
        "if-none-match": st.sampled_from(["*", '"x"', "", ",", 'W/"']),
        "x-request-id": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip),
        "host": st.sampled_from(["[", "a b", ""]),
    },
)


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Iterator[Reader]:
    with Reader(stack) as reader, Platform(stack.endpoints) as platform:
        key = platform.register_source(f"fuzz-{uuid.uuid4().hex[:8]}")
        position = platform.record(key, identify({"first_name": "Ada", "é": [1, {"x": None}]}, user_id="somebody")).position
        assert reader.ask(SOMEBODY, "traits", at_least_as_fresh=fresh(position)).status_code == 200
        yield reader


@pytest.fixture(scope="module")
def client(reader: Reader) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=reader.url, timeout=DEADLINE_S) as made:
        yield made


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(target=targets, query=queries, head=heads, method=st.sampled_from(["GET"] * 8 + METHODS), known=st.booleans())
@example(target=address("user_id:x", "traits"), query={"valid_at": "0001-01-01T00:00:00+23:59"}, head={}, method="GET", known=True)
@example(target=address(SOMEBODY, "traits"), query={"include": "plan\0"}, head={}, method="GET", known=True)
@example(target=address(SOMEBODY, "events"), query={"include": "\0", "exclude": "\x1b\u2028"}, head={}, method="GET", known=True)
@example(target=address(SOMEBODY, "traits") + "?include=%ED%A0%80", query={}, head={}, method="GET", known=True)
@example(target=address("user_id:\x00", "traits"), query={}, head={}, method="GET", known=True)
@example(target=address("email:" + "x" * 9_000, "metadata"), query={}, head={}, method="GET", known=True)
def test_nothing_that_is_asked_gets_a_500(
    reader: Reader, client: httpx.Client, target: str, query: dict[str, str], head: dict[str, str], method: str, known: bool
) -> None:
    """503 is the answer to who asks for a position that isn't there yet; none of these positions waits long."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in head.items()]
    if known:
        headers.append((b"authorization", b"Bearer " + reader.tokens["audit"].encode()))
    asked = str(httpx.QueryParams(query))
    answer = client.request(
        method, reader.url, headers=headers, extensions={"target": (target + (f"?{asked}" if asked else "")).encode()}
    )
    assert answer.status_code < 500 or answer.json()["error"]["reason"] == "NOT_FRESH_ENOUGH", answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400 and method != "HEAD":
        error = answer.json()["error"]
        assert error["code"]
        assert error["message"]
        assert error["reason"]
    if answer.status_code in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1


def test_nothing_that_came_was_unforeseen(stack: Stack) -> None:
    logs = "".join(path.read_text() for path in (stack.data_directory / "logs").glob("profile*"))
    assert '"unforeseen error"' not in logs
    assert "Traceback" not in logs


def test_reading_is_all_that_it_takes(reader: Reader, client: httpx.Client) -> None:
    auth, asked = (reader.tokens["audit"], ""), address("user_id:nobody", "traits")
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = client.request(method, asked, auth=auth)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert client.request("GET", asked, auth=auth, content=b"{}").status_code == 413
    for accept in ("text/html", "application/json;q=0", "text/*, image/png"):
        assert client.get(asked, auth=auth, headers={"accept": accept}).status_code == 406
    head, got = client.head(asked, auth=auth), client.get(asked, auth=auth)
    assert (head.status_code, head.content) == (404, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert client.get("/health").json() == {"status": "ok"}
    assert "access-control-allow-origin" not in client.get(asked, auth=auth, headers={"origin": "https://shop.example"}).headers


def said(port: int, *pieces: bytes) -> tuple[int, Any]:
    """Status and body of what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("begun", "status", "reason"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n", 431, "HEAD_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 200 + b"\r\n", 431, "HEAD_TOO_LARGE"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400, "HTTP_BROKEN"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "HTTP_BROKEN"),
    ],
    ids=["path", "lines", "bytes", "TLS"],
)
def test_what_never_reaches_a_handler_is_refused_in_the_same_form(reader: Reader, begun: bytes, status: int, reason: str) -> None:
    answered, body = said(httpx.URL(reader.url).port or 0, begun)
    assert (answered, body["error"]["reason"]) == (status, reason)
    assert body["error"]["request_id"]


def test_without_a_list_of_who_may_read_there_is_no_door() -> None:
    settings = ProfileSettings(database_url="", vault_url="", keyring_file="")
    assert _open_http(settings, Parts.__new__(Parts), Disclosures.__new__(Disclosures), FileKeyring.__new__(FileKeyring)) == []


class Impatient(ReaderProtocol):
    head_s = 0.2


async def test_a_client_that_is_slow_to_ask_is_let_go() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response()(scope, receive, send)

    server = HttpServer("127.0.0.1:0", app, Impatient)
    running = asyncio.create_task(server.run())
    status, body = await asyncio.to_thread(said, server.port, b"GET / HTTP/1.1\r\nhost: he")
    assert (status, body["error"]["reason"]) == (408, "REQUEST_TOO_SLOW")
    await server.stop()
    await running


@pytest.fixture
async def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A door all of whose reads wait for a position: they come no further."""
    monkeypatch.setattr(bounds, "FRESH_WAIT_S", 0.2)
    tokens, progress = TokenFile(tmp_path / "tokens.json"), Progress()
    token = tokens.add("one", "main", "service", bytes)
    services = Profiles.__new__(Profiles), Belongings.__new__(Belongings), Timelines.__new__(Timelines), Origins.__new__(Origins)
    door = ProfileDoor(*services, progress, tokens, b"key", unrecorded())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://door", auth=(token, "")) as client:
        yield client


async def test_so_many_reads_at_a_time_and_no_more(waiting: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_READS", 2)
    asked = f"{address('user_id:x', 'traits')}?at_least_as_fresh={LATER}"
    answers = await asyncio.gather(*(waiting.get(asked) for _ in range(5)))
    told = sorted((answer.status_code, answer.json()["error"]["reason"]) for answer in answers)
    assert told == [(429, "OVERLOADED")] * 3 + [(503, "NOT_FRESH_ENOUGH")] * 2
    assert (await waiting.get(asked)).status_code == 503


async def test_a_read_that_takes_too_long_is_given_up(waiting: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "ANSWER_S", 0.05)
    answer = await waiting.get(f"{address('user_id:x', 'traits')}?at_least_as_fresh={LATER}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (504, "READ_TOO_SLOW")
