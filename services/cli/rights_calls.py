"""Calls about rights requests that several commands make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.cli.client import connect
from services.cli.errors import NotReachable

if TYPE_CHECKING:
    from c360.consent.v1 import rights_pb2


def ask(method: str, request: Any, timeout_s: float) -> Any:
    """What was asked for with a request id may be asked for again with it."""
    from c360.consent.v1 import rights_pb2_grpc

    try:
        with connect("consent") as channel:
            return getattr(rights_pb2_grpc.RightsServiceStub(channel), method)(request, timeout=timeout_s)
    except NotReachable as failure:
        if request_id := getattr(request, "request_id", ""):
            failure.hint = f"It may have been recorded: repeat the command with --request-id {request_id}"
        raise


def get(rights_request_id: str, timeout_s: float) -> rights_pb2.GetRightsRequestResponse:
    from c360.consent.v1 import rights_pb2

    request = rights_pb2.GetRightsRequestRequest(rights_request_id=rights_request_id)
    return ask("GetRightsRequest", request, timeout_s)  # type: ignore[no-any-return]


def take(rights_request_id: str, by: str, reason: str, request_id: str, timeout_s: float, **step: Any) -> rights_pb2.RightsRequest:
    """`step`: one of TakeRightsStepRequest's, with its fields."""
    from c360.consent.v1 import rights_pb2

    request = rights_pb2.TakeRightsStepRequest(
        request_id=request_id, rights_request_id=rights_request_id, taken_by=by, reason=reason, **step
    )
    return ask("TakeRightsStep", request, timeout_s).request  # type: ignore[no-any-return]
