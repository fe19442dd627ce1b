"""Replies to text messages, as gateways hand them over: kept as signals, and whoever replies STOP has withdrawn."""

import hashlib
import hmac
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from services.consent.domain.receiving import ReceiveSignal
from services.consent.http.forms import body_of, fields_of
from services.consent.http.signatures import SIGNATURE, TIMESTAMP, SecretFile, check
from services.consent.receiving import Receiver
from shared import errors
from shared.errors import CustomerError, DeadlineExceeded, InvalidInput
from shared.http.request_ids import current
from shared.identifiers import name_and_hash
from shared.ids import to_text
from shared.instants import Clock
from shared.rates import Buckets, retry_after_s
from shared.request_ids import MAX_REQUEST_ID
from shared.telemetry import logger

MAX_BODY_BYTES: Final = 16 * 1024  # the longest reply in a form, percent-encoded
ENFORCED_S: Final = 2.0  # it is recorded then; gateways give up after some seconds
RETRY_AFTER_S: Final = 5
REPLIES_PER_S: Final = 500  # that are signed by our secret, of all numbers: after a campaign many reply at a time
BURST: Final = 5_000
OF_ONE_PER_S: Final = 0.1  # of one number, which has said all that it can say with the first few
OF_ONE_BURST: Final = 20
GATEWAYS: Final = ""
STATUSES: Final[list[tuple[type[CustomerError], int]]] = [
    (errors.NotAuthenticated, 401),
    (errors.InvalidInput, 400),
    (errors.Conflict, 409),
    (errors.LimitExceeded, 429),
]

log = logger("http")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Replies:
    def __init__(
        self,
        receiver: Receiver,
        secrets: SecretFile,
        lookup_key: bytes,
        clock: Clock,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`steady` is in seconds and never runs backwards."""
        self._receiver = receiver
        self._secrets = secrets
        self._lookup_key = lookup_key
        self._clock = clock
        self._rates = Buckets(REPLIES_PER_S, BURST, steady)
        self._senders = Buckets(OF_ONE_PER_S, OF_ONE_BURST, steady)

    async def answer(self, request: Request) -> Response:
        if request.method != "POST":
            return _refused(405, "METHOD_NOT_ALLOWED", "replies are posted", {"allow": "POST"})
        try:
            return await self._take(request)
        except Exception as error:
            return _of_error(error)

    async def _take(self, request: Request) -> Response:
        body = await body_of(request, MAX_BODY_BYTES)
        head = request.headers
        check(head.get(SIGNATURE, ""), head.get(TIMESTAMP, ""), body, self._secrets.all(), self._clock())
        command = command_of(head.get("content-type", ""), body, self._lookup_key)
        self._senders.take(command.identifier_hash)
        self._rates.take(GATEWAYS)
        try:
            answered = await self._receiver.receive(command, ENFORCED_S)
        except DeadlineExceeded:  # it is recorded, and enforced as soon as the readers are back
            return _json(202, {"success": True})
        told = [{"purpose": one.event.purpose, "outcome": one.event.outcome} for one in answered.decisions]
        signal = answered.signal
        return _json(
            200,
            {
                "success": True,
                "signalId": to_text(signal.entry.event_id),
                "decisions": told,
                "unread": signal.event.unread,
            },
        )


def command_of(content_type: str, body: bytes, lookup_key: bytes) -> ReceiveSignal:
    """`From`, `Body` and, so that a repetition is known, `MessageSid` or `id`; in any case of letters, as a form or JSON.

    Raises InvalidInput (REPLY_INVALID, IDENTIFIER_INVALID).
    """
    fields = _fields(content_type, body)
    sender, text = fields.get("from"), fields.get("body")
    if not isinstance(sender, str) or not isinstance(text, str):
        raise InvalidInput("a reply says From and Body", reason="REPLY_INVALID")
    said = fields.get("messagesid") or fields.get("id")
    request_id = f"sms:{said}" if isinstance(said, str) else ""
    if not 0 < len(request_id) <= MAX_REQUEST_ID or not request_id.isprintable():
        told = said.encode(errors="replace") if isinstance(said, str) else body
        # By the installation's key: what a number replied could be found by trying otherwise, and a request id stays in the log.
        request_id = f"sms:{hmac.digest(lookup_key, b'sms reply' + told, hashlib.sha256).hex()}"
    namespace, value_hash = name_and_hash("phone", sender, lookup_key)
    return ReceiveSignal(
        request_id=request_id, identifier_hash=value_hash, namespace=namespace, kind="sms", text=text, source="sms"
    )


def _fields(content_type: str, body: bytes) -> dict[str, Any]:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return {name.lower(): value for name, value in fields_of(content_type, body).items()}
    try:
        return {name.lower(): value for name, value in _decode(body).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("the body is no JSON object", reason="REPLY_INVALID") from None


def _of_error(error: Exception) -> Response:
    if isinstance(error, CustomerError):
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 503)
        later = {"retry-after": str(retry_after_s(error, RETRY_AFTER_S))} if status in (429, 503) else {}
        return _refused(status, error.reason, error.message, later)
    error_id = str(uuid.uuid4())
    log.error("a reply could not be recorded", error_id=error_id, error=type(error).__name__)
    return _refused(503, "DEPENDENCY_DOWN", f"try again; {error_id}", {"retry-after": str(RETRY_AFTER_S)})


def _refused(status: int, reason: str, message: str, headers: dict[str, str]) -> Response:
    return _json(status, {"success": False, "code": reason, "message": message, "requestId": current()}, headers)


def _json(status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(_encode(content), status, {"cache-control": "no-store"} | (headers or {}), media_type="application/json")
