"""What a call is refused with.

ClientError
├── InvalidRequest    the request has to be another one
├── NotAuthenticated  no credential, or one that isn't good any more
├── NotPermitted      the caller may not; or the person doesn't permit the purpose (`reason` says which)
├── NotFound
├── WrongState        such as CUSTOMER_ERASED; or there is one already
├── Conflict          lost a race, or a request id was reused for something else
├── LimitExceeded     come again later (`retry_after_s`), or never as it is
├── OutOfTime         not within the call's time; a write may have been made: repeat it by `request_id` to learn
├── Unavailable       a service is down, or what was asked for isn't there yet
└── Failed            a defect, an alarm over there, or a newer protocol
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc

from customer360_client.protos.c360.common.v1.common_pb2 import Refusal
from customer360_client.protos.c360_client.status_pb2 import ErrorInfo, RetryInfo, Status

DETAILS: Final = "grpc-status-details-bin"


class ClientError(Exception):
    """`reason` is machine-readable ("CONSENT_WITHDRAWN"; empty where the transport speaks), `facts` are ids and limits, never
    personal data. `request_id` is that of the write that failed."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        facts: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code.name} {reason}: {message}" if reason else f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.facts = dict(facts or {})
        self.retry_after_s = retry_after_s
        self.attempts = 1
        self.request_id = ""


class InvalidRequest(ClientError): ...


class NotAuthenticated(ClientError): ...


class NotPermitted(ClientError): ...


class NotFound(ClientError): ...


class WrongState(ClientError): ...


class Conflict(ClientError): ...


class LimitExceeded(ClientError): ...


class OutOfTime(ClientError): ...


class Unavailable(ClientError): ...


class Failed(ClientError): ...


KINDS: Final[dict[grpc.StatusCode, type[ClientError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: NotAuthenticated,
    grpc.StatusCode.PERMISSION_DENIED: NotPermitted,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: WrongState,
    grpc.StatusCode.ALREADY_EXISTS: WrongState,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitExceeded,
    grpc.StatusCode.DEADLINE_EXCEEDED: OutOfTime,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,  # told by a service that ends; who cancels a call itself isn't told so
}
CODES: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}


def make_error(
    code: grpc.StatusCode,
    message: str,
    reason: str = "",
    facts: Mapping[str, str] | None = None,
    retry_after_s: float | None = None,
) -> ClientError:
    after_ms = (facts or {}).get("retry_after_ms", "")
    after_s = int(after_ms) / 1000 if after_ms.isdecimal() else retry_after_s
    return KINDS.get(code, Failed)(code, message, reason, facts, after_s)


def from_refusal(refusal: Refusal) -> ClientError:
    """About one of several that were asked for."""
    code = CODES.get(refusal.code, grpc.StatusCode.UNKNOWN)
    return make_error(code, refusal.message, refusal.reason, refusal.metadata)


def from_rpc_error(error: Any) -> ClientError:
    """Of a call that was made by grpc or by grpc.aio."""
    info, retry_after_s = _told(error.trailing_metadata() or ())
    return make_error(error.code(), error.details() or "", info.reason, info.metadata, retry_after_s)


def _told(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[ErrorInfo, float | None]:
    info, retry_after_s = ErrorInfo(), None
    packed = next((value for key, value in metadata if key == DETAILS), b"")
    status = Status.FromString(packed) if isinstance(packed, bytes) else Status()
    for detail in status.details:
        if detail.type_url.endswith("/google.rpc.ErrorInfo"):
            info = ErrorInfo.FromString(detail.value)
        elif detail.type_url.endswith("/google.rpc.RetryInfo"):
            delay = RetryInfo.FromString(detail.value).retry_delay
            retry_after_s = delay.seconds + delay.nanos / math.pow(10, 9)
    return info, retry_after_s
