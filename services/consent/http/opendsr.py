"""Requests that other systems hand over as OpenDSR 2.0 has it. Each waits for its check of identity like any other; answers are signed."""

import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from services.consent.answering import RightsDesk
from services.consent.domain.rights_commands import Withdraw
from services.consent.http import opendsr_messages as messages
from services.consent.http.forms import body_of
from services.consent.http.opendsr_file import Controller, OpenDsrFile, Processor
from shared import errors
from shared.errors import CustomerError
from shared.http.credentials import bearer_token
from shared.rates import Buckets, retry_after_s
from shared.telemetry import logger

PREFIX: Final = "/v2/"
DISCOVERY, CERTIFICATE, REQUESTS = "/v2/discovery", "/v2/certificate.pem", "/v2/requests"
MAX_BODY_BYTES: Final = 64 * 1024
RETRY_AFTER_S: Final = 5
METHODS: Final = {DISCOVERY: "GET", CERTIFICATE: "GET", REQUESTS: "POST"}
OF_ONE: Final = ("GET", "DELETE")
# OpenDSR 7.5: whatever is wrong with a request is 400.
KINDS: Final[list[tuple[type[CustomerError], int]]] = [
    (errors.NotAuthenticated, 401),
    (errors.NotFound, 404),
    (errors.InvalidInput, 400),
    (errors.WrongState, 400),
    (errors.Conflict, 400),
    (errors.LimitExceeded, 429),
]
CALLS_PER_S: Final = (
    10  # of a controller, and of all who ask for what everybody may know: an answer is signed, which takes a millisecond
)
BURST: Final = 100
ANYBODY: Final = ""

log = logger("opendsr")
encode = msgspec.json.Encoder().encode


class OpenDsr:
    def __init__(self, desk: RightsDesk, file: OpenDsrFile, lookup_key: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never runs backwards."""
        self._desk = desk
        self._file = file
        self._lookup_key = lookup_key
        self._rates = Buckets(CALLS_PER_S, BURST, clock)

    async def answer(self, request: Request) -> Response:
        try:
            processor = self._file.read()
            if processor is None:
                return Response(status_code=404)
            return await self._answer(request, str(request.scope["path"]), processor)
        except Exception as error:
            return _of_error(error)

    async def _answer(self, request: Request, path: str, processor: Processor) -> Response:
        allowed = (METHODS[path],) if path in METHODS else OF_ONE if path.startswith(f"{REQUESTS}/") else ()
        if request.method not in allowed:
            return Response(status_code=405, headers={"allow": ", ".join(allowed)}) if allowed else Response(status_code=404)
        if path in (DISCOVERY, CERTIFICATE):
            self._rates.take(ANYBODY)
        if path == DISCOVERY:
            return _signed(processor, 200, messages.discovery(f"https://{processor.domain}{CERTIFICATE}"))
        if path == CERTIFICATE:
            return Response(processor.certificate_pem(), media_type="application/x-pem-file")
        controller = processor.controller_of(bearer_token(request.headers.get("authorization", "")))
        self._rates.take(controller.controller_id)
        if path == REQUESTS:
            return await self._take(processor, controller, await body_of(request, MAX_BODY_BYTES))
        return await self._one(processor, controller, path.removeprefix(f"{REQUESTS}/"), request.method)

    async def _take(self, processor: Processor, controller: Controller, body: bytes) -> Response:
        command = messages.command_of(body, controller, processor.calendar, self._lookup_key)
        case, _ = await self._desk.open(command)
        return _signed(processor, 201, messages.taken(case, body))

    async def _one(self, processor: Processor, controller: Controller, named: str, method: str) -> Response:
        request_id = messages.request_id_of(controller, named)
        case = await self._desk.case_of_request(request_id)
        if method == "GET":
            return _signed(processor, 200, messages.status(case.standing.request))
        command = Withdraw(request_id=f"{request_id}:cancel", by=controller.controller_id, reason="cancelled as OpenDSR has it")
        case, _ = await self._desk.take_step(case.standing.rights_id, command)
        return _signed(processor, 202, messages.cancelled(case))


def _signed(processor: Processor, status: int, content: dict[str, Any]) -> Response:
    body = encode(content)
    headers = {"cache-control": "no-store"} | processor.signed(body)
    return Response(body, status, headers, media_type="application/json")


def _of_error(error: Exception) -> Response:
    if isinstance(error, CustomerError):
        status = next((status for kind, status in KINDS if isinstance(error, kind)), 503)
        reason, message = error.reason, error.message
    else:
        error_id = str(uuid.uuid4())
        log.error("a request could not be taken", error_id=error_id, error=type(error).__name__)
        status, reason, message = 503, "DEPENDENCY_DOWN", f"try again; {error_id}"
    told = {"code": status, "message": message, "errors": [{"domain": "customer360", "reason": reason, "message": message}]}
    later = {"retry-after": str(retry_after_s(error, RETRY_AFTER_S))} if status in (429, 503) else {}
    headers = {"cache-control": "no-store"} | later
    return Response(encode({"error": told}), status, headers, media_type="application/json")
