"""How a command fails, and the one place where a gRPC error becomes an exit code.

CommandError
├── Refused       1  the service understood and said no
├── Misused       2  the command was wrong before any service was asked
├── NotReachable  3  no answer in time; the same command may succeed later
├── Queued        4  taken down, but something forbids it for now: nothing is done yet
└── Interrupted   130  Ctrl-C; the same command goes on
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import grpc


class CommandError(Exception):
    exit_code: ClassVar[int]

    def __init__(self, reason: str, message: str, facts: Mapping[str, str] | None = None) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.facts = dict(facts or {})
        self.hint = ""

    def __str__(self) -> str:
        facts = "".join(f"\n  {name}: {value}" for name, value in sorted(self.facts.items()))
        hint = f"\n{self.hint}" if self.hint else ""
        return f"{self.reason}: {self.message}{facts}{hint}"


class Refused(CommandError):
    exit_code = 1


class Misused(CommandError):
    exit_code = 2


class NotReachable(CommandError):
    exit_code = 3


class Queued(CommandError):
    exit_code = 4


class Interrupted(CommandError):
    exit_code = 130


def from_rpc_error(service: str, address: str, error: grpc.RpcError) -> CommandError:
    """Reads google.rpc.ErrorInfo from the status details; without it, the status code is the reason."""
    import grpc

    code = error.code()
    message = error.details() or "the service gave no text"
    reason, facts = error_info(error)
    if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        refused = Refused(reason or code.name, message, facts)
        if reason == "IDENTIFIER_UNKNOWN" and service != "identity":
            refused.hint = "`c360 identity resolve` tells whether it is nobody's because too many use it"
        return refused
    if reason:
        return NotReachable(reason, message, facts)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return NotReachable("DEADLINE_EXCEEDED", f"{service} at {address} did not answer within --timeout")
    why = message.rsplit(": ", 1)[-1]  # the last link of gRPC's chain of causes, such as "Connection refused"
    failure = NotReachable("NOT_REACHABLE", f"{service} at {address}: {why}")
    failure.hint = f"Is it running? `c360 status` asks all services. C360_{service.upper()}_ADDRESS sets its address."
    return failure


def error_info(error: Any) -> tuple[str, dict[str, str]]:
    """The machine-readable reason and its facts; empty where the service gave none."""
    from google.rpc.error_details_pb2 import ErrorInfo
    from grpc_status import rpc_status

    try:
        status = rpc_status.from_call(error)
    except ValueError:  # details that contradict the status code are no evidence of anything
        return "", {}
    for detail in status.details if status else ():
        info = ErrorInfo()
        if detail.Unpack(info):
            return info.reason, dict(info.metadata)
    return "", {}
