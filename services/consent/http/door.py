"""The HTTP edge of consent: links that people follow, and what other systems send. It decides nothing."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.consent.http.forms import body_of, fields_of
from services.consent.http.opendsr import PREFIX as OPENDSR
from services.consent.http.opendsr import OpenDsr
from services.consent.http.pages import BY_HAND, FIELD, ONE_CLICK, RETRY_AFTER_S, page
from services.consent.http.replies import Replies
from services.consent.unsubscribing import Unsubscribing
from shared import tracing
from shared.errors import CustomerError, DeadlineExceeded, InvalidInput, LimitExceeded, WrongState
from shared.http.connections import BoundedProtocol
from shared.http.request_ids import RequestIds
from shared.ids import NewId, to_text
from shared.rates import Buckets, retry_after_s
from shared.telemetry import HTTP_REQUESTS, logger

UNSUBSCRIBE: Final = "/u/"
REPLIES: Final = "/replies/sms"
METHODS: Final = {ONE_CLICK: "one-click", BY_HAND: "unsubscribe-page"}
MAX_BODY_BYTES: Final = 4 * 1024  # of a form with one field
MAX_AT_ONCE: Final = 64  # that are being recorded; one of them takes a few milliseconds
ANSWER_S: Final = 10.0  # until a click is recorded
CLICKS_PER_S: Final = 0.1  # of one person about one purpose: the first click has done it
CLICKS_BURST: Final = 10
ENFORCED_S: Final = 1.0  # it is recorded then; who clicked doesn't wait for the slowest reader

log = logger("http")


class PageProtocol(BoundedProtocol):
    @staticmethod
    def refusal(status: int, reason: str, message: str, request_id: str) -> dict[str, Any]:
        return {"code": reason, "message": message, "requestId": request_id}


class ConsentDoor:
    """An ASGI application."""

    def __init__(
        self, unsubscribing: Unsubscribing, replies: Replies, opendsr: OpenDsr, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is in seconds and never runs backwards."""
        self._unsubscribing = unsubscribing
        self._replies = replies
        self._opendsr = opendsr
        self._recording = 0
        self._clicks = Buckets(CLICKS_PER_S, CLICKS_BURST, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with tracing.serving(tracing.begin_by("HTTP consent", request.headers)):
            path, response = await self._answer(request)
        HTTP_REQUESTS.labels(path, str(response.status_code)).inc()
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> tuple[str, Response]:
        """With the name of what was asked for, which has nothing of the link in it."""
        path = str(request.scope["path"])
        if path.startswith(UNSUBSCRIBE):
            return "unsubscribe", await self._of_link(request, path.removeprefix(UNSUBSCRIBE))
        if path.startswith(OPENDSR):
            return "opendsr", await self._opendsr.answer(request)
        if path == REPLIES:
            return "replies", await self._replies.answer(request)
        if path == "/health":
            return "health", Response("ok", headers={"cache-control": "no-store"}, media_type="text/plain")
        return "other", Response(status_code=404)

    async def _of_link(self, request: Request, token: str) -> Response:
        language = request.headers.get("accept-language", "")
        try:
            return await self._unsubscribe(request, token, language)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            return _of_error(error, language)

    async def _unsubscribe(self, request: Request, token: str, language: str) -> Response:
        """A look changes nothing: scanners of mail follow every link."""
        link = self._unsubscribing.find(token)
        if request.method in ("GET", "HEAD"):
            return page("ask", 200, language)
        if request.method != "POST":
            return Response(status_code=405, headers={"allow": "GET, HEAD, POST"})
        body = await body_of(request, MAX_BODY_BYTES)
        method = METHODS.get(fields_of(request.headers.get("content-type", ""), body).get(FIELD, ""))
        if method is None:
            return page("ask", 400, language)
        self._clicks.take((link.identifier_hash, link.purpose))
        await self._record(token, method)
        return page("done", 200, language)

    async def _record(self, token: str, method: str) -> None:
        if self._recording >= MAX_AT_ONCE:
            raise LimitExceeded("too many at a time; try again", reason="OVERLOADED")
        self._recording += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._unsubscribing.use(token, method, ENFORCED_S)
        except DeadlineExceeded:
            pass  # it is recorded, and enforced as soon as the readers are back
        finally:
            self._recording -= 1


def make_app(door: ConsentDoor, new_id: NewId) -> ASGIApp:
    return RequestIds(door, lambda: to_text(new_id()))


def _of_error(error: Exception, language: str) -> Response:
    if isinstance(error, InvalidInput) and error.reason == "BODY_TOO_LARGE":
        return Response(status_code=413, headers={"connection": "close"})
    if isinstance(error, InvalidInput):
        return page("unknown", 404, language)
    if isinstance(error, WrongState):
        return page("expired", 410, language)
    if not isinstance(error, CustomerError):
        log.error("a click could not be recorded", error_id=str(uuid.uuid4()), error=type(error).__name__)
    status = 429 if isinstance(error, LimitExceeded) else 503
    return page("later", status, language, {"retry-after": str(retry_after_s(error, RETRY_AFTER_S))})
