"""Batches on their way, and a door that refuses, breaks off and comes back."""

import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from services.cli.errors import CommandError, NotReachable, Refused
from services.cli.importing import door
from services.cli.importing.door import Answer, Door, Result, Stopped
from services.cli.importing.lanes import BATCH_EVENTS, EVENT_BYTES_AT_MOST, STALE_ROWS, Lanes
from services.cli.importing.ledger import Entry
from services.cli.importing.mapper import Mapped
from services.cli.importing.rows import Place, Row
from tests.waiting import eventually

ENDED_AFTER_S = 30.0


class Sink:
    """A sender that takes everything, and remembers it in the order of arrival."""

    def __init__(self, seen: list[bytes], verdict: Result | None = None) -> None:
        self._seen = seen
        self._verdict = verdict or Result("accepted")

    def send(self, events: list[bytes]) -> Answer:
        self._seen += events
        return Answer([self._verdict] * len(events), f"ingest/0/{len(self._seen)}")

    def close(self) -> None: ...


def entry(number: int = 1) -> Entry:
    return Entry(Row(Place(number), Place(number + 1), []))


def test_rows_of_a_person_go_in_order_and_none_is_left() -> None:
    seen: list[bytes] = []
    lanes = Lanes(lambda stop: Sink(seen))
    entries = [entry(number) for number in range(5_000)]
    for number, one in enumerate(entries):
        lanes.add(one, Mapped(f"p{number % 37}", b"%d" % number))
    lanes.flush()
    eventually(lambda: all(one.status for one in entries))
    lanes.stop(ENDED_AFTER_S)
    assert Counter(map(int, seen)) == Counter(range(5_000))
    for person in range(37):
        own = [number for number in map(int, seen) if number % 37 == person]
        assert own == sorted(own)
    assert lanes.position == "ingest/0/5000"


def test_ctrl_c_is_raised_where_no_lock_is_held_and_a_second_one_at_once() -> None:
    lanes, before = Lanes(lambda stop: Sink([])), signal.getsignal(signal.SIGINT)
    with lanes.interruptible():
        signal.raise_signal(signal.SIGINT)
        lanes.add(entry(), Mapped("a", b"0"))  # goes on
        with pytest.raises(KeyboardInterrupt):
            lanes.look()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    lanes.stop(ENDED_AFTER_S)


def test_a_batch_that_never_fills_goes_when_the_file_is_far_ahead() -> None:
    lanes = Lanes(lambda stop: Sink([]))
    lonely = entry()
    lanes.add(lonely, Mapped("a", b"0"))
    for _ in range(STALE_ROWS + BATCH_EVENTS):
        lanes.add(entry(), Mapped("b", b"1"))
        lanes.flush_stale()
    eventually(lambda: bool(lonely.status))
    lanes.stop(ENDED_AFTER_S)


def test_an_event_too_large_for_any_batch_is_refused_at_once() -> None:
    lanes = Lanes(lambda stop: Sink([]))
    large = entry()
    lanes.add(large, Mapped("a", b"x" * (EVENT_BYTES_AT_MOST + 1)))
    lanes.stop(ENDED_AFTER_S)
    assert (large.status, large.reason) == ("rejected", "EVENT_TOO_LARGE")


@pytest.mark.parametrize(
    ("result", "status", "reason"),
    [
        (Result("accepted"), "accepted", ""),
        (Result("duplicate"), "duplicate", ""),
        (Result("quarantined", "PLAN"), "quarantined", ""),
        (Result("rejected", "IDS_MISSING"), "rejected", "IDS_MISSING"),
        (Result("postponed"), "rejected", "STATUS_POSTPONED"),
    ],
)
def test_a_status_that_nobody_knows_is_no_promise(result: Result, status: str, reason: str) -> None:
    lanes = Lanes(lambda stop: Sink([], result))
    one = entry()
    lanes.add(one, Mapped("a", b"0"))
    lanes.flush()
    eventually(lambda: bool(one.status))
    lanes.stop(ENDED_AFTER_S)
    assert (one.status, one.reason) == (status, reason)


def test_what_goes_wrong_in_a_lane_is_raised_where_rows_are_added() -> None:
    class Broken(Sink):
        def send(self, events: list[bytes]) -> Answer:
            raise Refused("WRITE_KEY_UNKNOWN", "no")

    lanes = Lanes(lambda stop: Broken([]))

    def add_for_ever() -> None:
        while True:
            lanes.add(entry(), Mapped("a", b"0"))

    with pytest.raises(Refused, match="WRITE_KEY_UNKNOWN"):
        add_for_ever()
    lanes.stop(ENDED_AFTER_S)


class Service:
    """An HTTP door that answers what it is told to, one answer a request; None breaks the connection."""

    def __init__(self, *answers: tuple[int, dict[str, str], Any] | None) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                service.requests.append((self.path, dict(self.headers), json.loads(body)))
                answer = service.answers.pop(0)
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, content = answer
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in (headers | {"content-length": str(len(data))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


TAKEN: tuple[int, dict[str, str], Any] = (
    200,
    {},
    {"success": True, "results": [{"messageId": "m", "status": "accepted"}], "position": "ingest/0/7"},
)
LATER: tuple[int, dict[str, str], Any] = (429, {"retry-after": "0"}, {"success": False, "code": "OVERLOADED", "message": "later"})


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def start(*answers: Any) -> Service:
        made.append(Service(*answers))
        return made[-1]

    yield start
    for service in made:
        service.server.shutdown()
        service.server.server_close()


def send(service: Service, told: Callable[[str], None] = lambda why: None) -> Answer:
    with closing(Door(service.url, "wk_1", threading.Event(), told)) as sender:
        return sender.send([b'{"userId":"u1"}'])


def test_what_gets_no_answer_is_sent_again_as_it_was(serve: Callable[..., Service]) -> None:
    service = serve(LATER, None, (500, {}, b"oops"), TAKEN)
    told: list[str] = []
    assert send(service, told.append).position == "ingest/0/7"
    assert [body for _, _, body in service.requests] == [{"batch": [{"userId": "u1"}]}] * 4
    assert told[0] == "OVERLOADED"
    assert service.requests[0][0] == "/v1/batch"
    assert {headers["authorization"] for _, headers, _ in service.requests} == {"Basic d2tfMTo="}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((401, {}, {"code": "WRITE_KEY_UNKNOWN", "message": "no"}), "WRITE_KEY_UNKNOWN"),
        ((404, {}, b"<html>"), "REFUSED"),
        ((200, {}, b"<html>"), "ANSWER_INVALID"),
        ((200, {}, {"results": []}), "ANSWER_INVALID"),
    ],
)
def test_what_sending_again_cannot_help_is_refused(serve: Callable[..., Service], answer: Any, reason: str) -> None:
    with pytest.raises(CommandError) as refused:
        send(serve(answer))
    assert refused.value.reason == reason


def test_nobody_there_is_not_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "FIRST_PATIENCE_S", 0.0)
    with closing(Door("http://127.0.0.1:1", "k", threading.Event(), lambda why: None)) as sender, pytest.raises(NotReachable):
        sender.send([b"{}"])


def test_whoever_waits_to_send_again_stops_at_once(serve: Callable[..., Service]) -> None:
    stop = threading.Event()
    service = serve((429, {"retry-after": "10"}, {}))
    with closing(Door(service.url, "k", stop, lambda why: stop.set())) as sender, pytest.raises(Stopped):
        sender.send([b"{}"])


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://"])
def test_a_door_is_a_url(url: str) -> None:
    with pytest.raises(CommandError, match="URL_INVALID"):
        Door(url, "k", threading.Event(), lambda why: None)
