"""What the HTTP door answers: always JSON, errors with a reason in `code`, and never a 503.

SDKs take exactly 200 as success, retry for ever on a 4xx without `code` and `message`, and count every answer but
429 with Retry-After against their retries.
"""

import uuid
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from services.ingest.app import Recorded, Verdict
from shared import errors
from shared.bus import BROKER_DOWN
from shared.http.connections import RETRY_AFTER_S, BoundedProtocol
from shared.http.request_ids import current
from shared.store.pool import DOWN as STORE_DOWN
from shared.telemetry import logger

TOO_LARGE: Final = frozenset({"BODY_TOO_LARGE", "CONTEXT_TOO_LARGE", "EVENT_TOO_LARGE"})
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
    (errors.DeadlineExceeded, 429),
    (errors.ProfileFailed, 500),
    (errors.Unavailable, 429),
]

log = logger("http")
encode = msgspec.json.Encoder().encode


def json_response(status: int, content: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(content), status, headers, media_type="application/json")


def recorded(found: Recorded) -> Response:
    content: dict[str, Any] = {"success": True, "results": [_result(verdict) for verdict in found.verdicts]}
    if found.number is not None:
        content["position"] = f"ingest/0/{found.number}"
    return json_response(200, content)


def _result(verdict: Verdict) -> dict[str, str]:
    result: dict[str, str] = {"messageId": verdict.message_id, "status": verdict.status}
    if verdict.reason:
        result |= {"reason": verdict.reason, "message": verdict.message}
    return result


def refusal(status: int, code: str, message: str, **facts: str) -> Response:
    """`facts` are limits, kinds and ids; `retry_after_s` says when to come again, for 429."""
    headers = {"retry-after": facts.pop("retry_after_s", str(RETRY_AFTER_S))} if status == 429 else None
    return json_response(status, _refusal(code, message, current(), facts), headers)


def _refusal(code: str, message: str, request_id: str, facts: dict[str, str]) -> dict[str, Any]:
    return {"success": False, "code": code, "message": message, "requestId": request_id, **facts}


class SenderProtocol(BoundedProtocol):
    @staticmethod
    def refusal(status: int, reason: str, message: str, request_id: str) -> dict[str, Any]:
        return _refusal(reason, message, request_id, {})


def of_error(error: Exception) -> Response:
    """An error we didn't foresee is logged under an id, and the caller gets the id alone."""
    if isinstance(error, errors.CustomerError):
        status = next(status for kind, status in STATUSES if isinstance(error, kind))
        return refusal(413 if error.reason in TOO_LARGE else status, error.reason, error.message, **error.facts)
    if isinstance(error, (*STORE_DOWN, *BROKER_DOWN)):
        log.warning("a server is down", error=type(error).__name__)
        return refusal(429, "DEPENDENCY_DOWN", "a server behind this service is down; send again later")
    error_id = str(uuid.uuid4())
    log.error("unforeseen error", error_id=error_id, exc_info=error)
    return refusal(500, "INTERNAL", f"internal error {error_id}", error_id=error_id)


async def not_found(request: Request, error: Exception) -> Response:
    return refusal(404, "PATH_UNKNOWN", "there is nothing at this path")


async def method_not_allowed(request: Request, error: Exception) -> Response:
    response = refusal(405, "METHOD_NOT_ALLOWED", "this path doesn't take this method")
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})
    return response
