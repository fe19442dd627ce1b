"""What a failed call becomes: an exit code, and words on stderr."""

from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from services.cli.errors import CommandError, from_rpc_error


class FailedCall(grpc.RpcError):
    """As grpc raises it: an error that is a call as well."""

    def __init__(self, code: grpc.StatusCode, message: str, info: ErrorInfo | None = None) -> None:
        super().__init__()
        details = AnyMessage()
        details.Pack(info or Status())
        number: int = code.value[0]
        self.status = rpc_status.to_status(Status(code=number, message=message, details=[details]))

    def code(self) -> grpc.StatusCode:
        return self.status.code

    def details(self) -> str:
        return self.status.details

    def trailing_metadata(self) -> Any:
        return self.status.trailing_metadata


def failure(code: grpc.StatusCode, message: str, info: ErrorInfo | None = None) -> CommandError:
    return from_rpc_error("profile", "127.0.0.1:50053", FailedCall(code, message, info))


def test_a_refusal_shows_the_reason_the_message_and_the_facts() -> None:
    info = ErrorInfo(reason="CONSENT_WITHDRAWN", domain="customer360", metadata={"purpose": "marketing"})
    refused = failure(grpc.StatusCode.PERMISSION_DENIED, "consent was withdrawn", info)
    assert refused.exit_code == 1
    assert str(refused) == "CONSENT_WITHDRAWN: consent was withdrawn\n  purpose: marketing"


def test_who_asks_the_profile_by_an_identifier_of_nobody_hears_who_knows_more() -> None:
    unknown = failure(grpc.StatusCode.NOT_FOUND, "no customer has this identifier", ErrorInfo(reason="IDENTIFIER_UNKNOWN"))
    assert "c360 identity resolve" in str(unknown)


def test_without_details_the_status_is_the_reason() -> None:
    refused = failure(grpc.StatusCode.UNIMPLEMENTED, "")
    assert (refused.exit_code, refused.reason) == (1, "UNIMPLEMENTED")


def test_what_may_succeed_later_has_its_own_exit_code() -> None:
    late = failure(grpc.StatusCode.UNAVAILABLE, "not there yet", ErrorInfo(reason="NOT_FRESH_ENOUGH"))
    assert (late.exit_code, str(late)) == (3, "NOT_FRESH_ENOUGH: not there yet")


def test_a_deadline_names_the_service() -> None:
    late = failure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    assert late.exit_code == 3
    assert str(late) == "DEADLINE_EXCEEDED: profile at 127.0.0.1:50053 did not answer within --timeout"


def test_a_service_that_is_not_there_is_named_with_its_address() -> None:
    gone = failure(grpc.StatusCode.UNAVAILABLE, "failed to connect; last error: UNKNOWN: Connection refused")
    assert gone.exit_code == 3
    assert str(gone).startswith("NOT_REACHABLE: profile at 127.0.0.1:50053: Connection refused\n")
    assert "C360_PROFILE_ADDRESS" in str(gone)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_a_service_that_stops_is_not_a_refusal(code: grpc.StatusCode) -> None:
    assert failure(code, "shutting down").exit_code == 3
