"""The one place where errors become gRPC statuses."""

import uuid
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from shared import errors
from shared.bus.connection import BROKER_DOWN
from shared.store.pool import DOWN as STORE_DOWN
from shared.store.pool import cannot_be_stored
from shared.telemetry import logger
from shared.vault.envelope import EnvelopeBroken

DOMAIN = "customer360"
RETRY_AFTER_S = 1  # whoever finds a service unavailable

# The first that fits counts, so subclasses stand before their parents.
CODES: list[tuple[type[Exception], int]] = [
    (errors.NotAuthenticated, Code.UNAUTHENTICATED),
    (errors.InvalidInput, Code.INVALID_ARGUMENT),
    (errors.NotFound, Code.NOT_FOUND),
    (errors.AlreadyExists, Code.ALREADY_EXISTS),
    (errors.NotPermitted, Code.PERMISSION_DENIED),
    (errors.WrongState, Code.FAILED_PRECONDITION),
    (errors.Conflict, Code.ABORTED),
    (errors.LimitExceeded, Code.RESOURCE_EXHAUSTED),
    (errors.DeadlineExceeded, Code.DEADLINE_EXCEEDED),
    (errors.ProfileFailed, Code.INTERNAL),
    (errors.Unavailable, Code.UNAVAILABLE),
]

log = logger("rpc")


def to_status(error: Exception, method: str) -> Any:
    """What the caller is told. An error we didn't foresee is logged under an id, and the caller gets the id alone."""
    if isinstance(error, errors.CustomerError):
        return make_status(code_of(error), error.message, error.reason, error.facts)
    if isinstance(error, (*STORE_DOWN, *BROKER_DOWN)):
        log.warning("a server is down", method=method, error=type(error).__name__)
        return make_status(Code.UNAVAILABLE, "a server behind this service is down; try again", "DEPENDENCY_DOWN", {})
    if isinstance(error, EnvelopeBroken):
        log.error("an envelope does not open with the live key of its owner", method=method, reason=str(error))
        return make_status(Code.DATA_LOSS, "what is stored was altered", "ENVELOPE_BROKEN", {})
    if cannot_be_stored(error):
        return make_status(Code.INVALID_ARGUMENT, "a text has a character that can't be stored", "TEXT_INVALID", {})
    error_id = str(uuid.uuid4())
    log.error("unforeseen error", method=method, error_id=error_id, exc_info=error)
    return make_status(Code.INTERNAL, f"internal error {error_id}", "INTERNAL", {"error_id": error_id})


def code_of(error: errors.CustomerError) -> int:
    return next(code for kind, code in CODES if isinstance(error, kind))


def make_status(code: int, message: str, reason: str, facts: dict[str, str]) -> Any:
    told: list[Any] = [ErrorInfo(reason=reason, domain=DOMAIN, metadata=facts)]
    if code == Code.UNAVAILABLE:
        told.append(RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_S)))
    return rpc_status.to_status(Status(code=code, message=message, details=[_packed(detail) for detail in told]))


def _packed(detail: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def reason_of(error: grpc.RpcError) -> str:
    """The machine-readable reason in an error that a client got; empty when there is none."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        info = ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""
