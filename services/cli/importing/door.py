"""One connection to ingest's HTTP door. What gets no answer, or 429, is sent again under the same message ids."""

from __future__ import annotations

import base64
import gzip
import http.client
import ipaddress
import random
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from services.cli.errors import CommandError, Misused, NotReachable, Refused
from services.cli.parts import COUNT, SIZE, Parts, TooLarge

ANSWER_TIMEOUT_S = 30.0
FIRST_DELAY_S = 0.2  # doubles with every attempt
DELAY_AT_MOST_S = 10.0
PATIENCE_S = 300.0  # without any answer
FIRST_PATIENCE_S = 10.0  # without the very first one: then it may never have been there
OVERLOAD_PATIENCE_S = 3600.0  # while it answers that it is overloaded: whoever imports is what overloads it
ANSWER_BYTES_AT_MOST = 8 * 1024 * 1024
OVERLOADED, CONTENT_TOO_LARGE = 429, 413  # whoever answers with the latter, ingest or a proxy before it


class Result(msgspec.Struct):
    status: str
    reason: str = ""
    message: str = ""


class Answer(msgspec.Struct):
    results: list[Result]
    position: str = ""


class Refusal(msgspec.Struct):
    code: str = "REFUSED"
    message: str = "the service gave no text"
    limit: str = ""  # of BATCH_TOO_LONG: how many events the source may send at a time


ANSWERS = msgspec.json.Decoder(Answer)
REFUSALS = msgspec.json.Decoder(Refusal)


class Stopped(Exception):
    """The import ends; what was to be sent again wasn't."""


class NoAnswer(Exception):
    """Sent again it may get one. `delay_s` is what the service asked for."""

    def __init__(self, why: str, delay_s: float = 0.0, overloaded: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.delay_s = delay_s
        self.overloaded = overloaded


class Door:
    """`told` hears why something is sent again."""

    def __init__(self, url: str, write_key: str, stop: threading.Event, told: Callable[[str], None]) -> None:
        self._url = url
        self._stop = stop
        self._told = told
        self._answered = False
        self._parts = Parts()
        where = urlsplit(url)
        if where.scheme not in ("http", "https") or not where.hostname:
            raise Misused("URL_INVALID", "the HTTP door is http:// or https:// and a host")
        kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(where.hostname, where.port, timeout=ANSWER_TIMEOUT_S)
        self._path = f"{where.path.rstrip('/')}/v1/batch"
        self._headers = {"content-type": "application/json", "authorization": _basic(write_key)}
        self._zip = not _is_local(where.hostname)

    def send(self, events: Sequence[bytes]) -> Answer:
        """In order, in as many requests as ingest wants. Raises CommandError when sending again doesn't help, Stopped."""
        whole = Answer([])
        for _, answer in self._parts.send(events, self._send, _refuse):
            whole.results += answer.results
            whole.position = answer.position or whole.position
        return whole

    def _send(self, events: Sequence[bytes]) -> Answer:
        """Raises TooLarge as well."""
        body = b'{"batch":[' + b",".join(events) + b"]}"
        headers = self._headers
        if self._zip:
            body, headers = gzip.compress(body, 1), headers | {"content-encoding": "gzip"}
        answer = self._until_answered(body, headers)
        if len(answer.results) != len(events):
            raise Refused("ANSWER_INVALID", f"{self._url} gave {len(answer.results)} verdicts for {len(events)} events")
        return answer

    def close(self) -> None:
        self._connection.close()

    def _until_answered(self, body: bytes, headers: dict[str, str]) -> Answer:
        began = time.monotonic()
        delay_s = FIRST_DELAY_S
        while True:
            try:
                answer = self._post(body, headers)
            except NoAnswer as failure:
                if time.monotonic() - began > self._patience_s(failure):
                    raise NotReachable("NOT_REACHABLE", f"{self._url}: {failure.why}") from None
                self._told(failure.why)
                # Spread, so that lanes that were refused together don't come back together.
                if self._stop.wait(max(failure.delay_s, delay_s) * random.uniform(1.0, 1.5)):  # noqa: S311 # nosec B311
                    raise Stopped from None
                delay_s = min(2 * delay_s, DELAY_AT_MOST_S)
            else:
                self._answered = True
                return answer

    def _patience_s(self, failure: NoAnswer) -> float:
        if failure.overloaded:
            return OVERLOAD_PATIENCE_S
        return PATIENCE_S if self._answered else FIRST_PATIENCE_S

    def _post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Raises NoAnswer, TooLarge, CommandError."""
        try:
            self._connection.request("POST", self._path, body, headers)
            response = self._connection.getresponse()
            content = response.read(ANSWER_BYTES_AT_MOST)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NoAnswer(getattr(error, "strerror", None) or type(error).__name__) from error
        if response.status == OVERLOADED:
            self._answered = True
            raise NoAnswer(_refusal(content).code, _seconds(response.getheader("retry-after")), overloaded=True)
        if response.status >= 500:
            raise NoAnswer(f"HTTP {response.status}")
        if response.status != 200:
            raise _refused(response.status, _refusal(content))
        try:
            return ANSWERS.decode(content)
        except msgspec.DecodeError:
            raise Refused("ANSWER_INVALID", f"{self._url} is not ingest's HTTP door") from None


def _refused(status: int, refusal: Refusal) -> CommandError | TooLarge:
    if refusal.code == COUNT:
        return TooLarge(COUNT, refusal.message, int(refusal.limit) if refusal.limit.isdecimal() else 0)
    if status == CONTENT_TOO_LARGE:
        return TooLarge(SIZE, refusal.message)
    return Refused(refusal.code, refusal.message, {"http status": str(status)})


def _refuse(event: bytes, why: TooLarge) -> Answer:
    return Answer([Result("rejected", why.reason, why.message)])


def _refusal(content: bytes) -> Refusal:
    try:
        return REFUSALS.decode(content)
    except msgspec.DecodeError:
        return Refusal()


def _seconds(retry_after: str | None) -> float:
    """Only its form in seconds, which is what ingest sends."""
    return min(float(retry_after), DELAY_AT_MOST_S) if retry_after and retry_after.isdecimal() else 0.0


def _basic(write_key: str) -> str:
    return "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()


def _is_local(host: str) -> bool:
    """Between processes of one machine, compressing costs more than it saves."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
