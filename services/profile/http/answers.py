"""What the door answers: always JSON. An error has a word that clients of Segment's API know in `code`, and ours in `reason`."""

import hmac
import uuid
from typing import Any, Final

import msgspec
from starlette.responses import Response

from shared import errors
from shared.bus import BROKER_DOWN
from shared.http.connections import RETRY_AFTER_S, BoundedProtocol
from shared.http.request_ids import current
from shared.rates import retry_after_s
from shared.store.pool import DOWN as STORE_DOWN
from shared.telemetry import logger
from shared.vault.envelope import EnvelopeBroken

# The first that fits counts, so subclasses stand before their parents.
STATUSES: Final[list[tuple[type[Exception], int]]] = [
    (errors.NotAuthenticated, 401),
    (errors.InvalidInput, 400),
    (errors.NotFound, 404),
    (errors.AlreadyExists, 409),
    (errors.NotPermitted, 403),
    (errors.WrongState, 409),
    (errors.Conflict, 409),
    (errors.LimitExceeded, 429),
    (errors.DeadlineExceeded, 504),
    (errors.ProfileFailed, 500),
    (errors.Unavailable, 503),
]
GONE: Final = frozenset({"CUSTOMER_ERASED"})  # 410: it was there, and will not be again
# Where Segment documents a word for a kind of error, that one.
CODES: Final = {
    400: "validation_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found",
    409: "state_error",
    410: "gone",
    429: "rate_limit_error",
    500: "internal_error",
    503: "unavailable",
    504: "timeout",
}
OTHER_CODE: Final = "invalid_request_error"
COME_AGAIN: Final = (429, 503)
ETAG_BYTES: Final = 16
# Kept by nobody but who asked, and asked for again each time: a withdrawal holds from the next read on.
CACHING: Final = {"cache-control": "private, no-cache", "vary": "authorization"}

log = logger("http")
encode = msgspec.json.Encoder().encode


class ReaderProtocol(BoundedProtocol):
    @staticmethod
    def refusal(status: int, reason: str, message: str, request_id: str) -> dict[str, Any]:
        return _refusal(status, reason, message, request_id, {})


def tag_key(lookup_key: bytes) -> bytes:
    """One of their own, so that no tag is ever an identifier's hash."""
    return hmac.digest(lookup_key, b"http etag", "sha256")


class Content(msgspec.Struct, frozen=True):
    """What is answered, and the same as of its events: an answer is another one when this is. `skipped`: rows that stand before its page."""

    told: dict[str, Any]
    as_of_its_events: dict[str, Any]
    skipped: int = 0

    def __repr__(self) -> str:
        return "<Content sealed>"


def found(content: Content, known: str, key: bytes) -> Response:
    """`known` is what the caller has (If-None-Match). The tag is keyed: a plain hash would say what is in the answer to whoever guesses it."""
    tag = f'"{hmac.digest(key, encode(content.as_of_its_events), "sha256")[:ETAG_BYTES].hex()}"'
    headers = CACHING | {"etag": tag}
    if _is_known(tag, known):
        return Response(status_code=304, headers=headers)
    return Response(encode(content.told), 200, headers, media_type="application/json")


def health() -> Response:
    return Response(encode({"status": "ok"}), 200, {"cache-control": "no-store"}, media_type="application/json")


def refusal(
    status: int, reason: str, message: str, headers: dict[str, str] | None = None, facts: dict[str, str] | None = None
) -> Response:
    """`facts` are limits, kinds and ids."""
    more = {"cache-control": "no-store"} | (headers or {})
    if status in COME_AGAIN:
        more.setdefault("retry-after", str(RETRY_AFTER_S))
    if status == 401:
        more["www-authenticate"] = 'Basic realm="customer360", charset="UTF-8"'
    return Response(encode(_refusal(status, reason, message, current(), facts or {})), status, more, media_type="application/json")


def of_error(error: Exception) -> Response:
    """An error we didn't foresee is logged under an id, and the caller gets the id alone."""
    if isinstance(error, errors.CustomerError):
        status = next(status for kind, status in STATUSES if isinstance(error, kind))
        later = {"retry-after": str(retry_after_s(error, RETRY_AFTER_S))} if status in COME_AGAIN else {}
        return refusal(410 if error.reason in GONE else status, error.reason, error.message, later, error.facts)
    if isinstance(error, (*STORE_DOWN, *BROKER_DOWN)):
        log.warning("a server is down", error=type(error).__name__)
        return refusal(503, "DEPENDENCY_DOWN", "a server behind this service is down; try again")
    if isinstance(error, EnvelopeBroken):
        log.error("an envelope does not open with the live key of its owner", reason=str(error))
        return refusal(500, "ENVELOPE_BROKEN", "what is stored was altered")
    error_id = str(uuid.uuid4())
    log.error("unforeseen error", error_id=error_id, exc_info=error)
    return refusal(500, "INTERNAL", f"internal error {error_id}", facts={"error_id": error_id})


def _refusal(status: int, reason: str, message: str, request_id: str, facts: dict[str, str]) -> dict[str, Any]:
    error: dict[str, Any] = {"code": CODES.get(status, OTHER_CODE), "message": message, "reason": reason, "request_id": request_id}
    return {"error": error | ({"facts": facts} if facts else {})}


def _is_known(tag: str, known: str) -> bool:
    """By RFC 9110, 13.1.2: compared weakly, as a proxy may have packed the answer."""
    return any(word.strip().removeprefix("W/") in (tag, "*") for word in known.split(","))
