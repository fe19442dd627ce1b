"""The error tree.

CustomerError
├── InvalidInput          the caller must change the request
│   └── NotAuthenticated  no credential, or an unknown one
├── NotFound
├── AlreadyExists
├── NotPermitted          the caller may not, whatever it changes
├── WrongState            the thing is not in a state that allows this
│   ├── TooLarge          there is more of it than is ever looked at together; trying again changes nothing
│   ├── VersionGap        an event would leave a hole in its stream: a bug, or a damaged view; never retried
│   └── LogDamaged        the log is not what was signed before: an alarm; nothing further is signed
├── Conflict              lost a race, or a request id was reused for something else
├── LimitExceeded         try again later, slower
├── DeadlineExceeded      not confirmed in time; repeat the same request id to learn the outcome
├── ProfileFailed         no answer can be made about this one customer: a bug of ours, and an alarm; others are served
└── Unavailable           retryable: a server is down, or what was asked for is not there yet
    ├── NotFreshEnough
    └── Fenced            another writer has taken over these partitions

Every error carries a machine-readable reason and its facts; facts are ids, kinds and limits, never personal data.
`shared/rpc/errors.py` is the one place that maps them to gRPC, `services/ingest/api/answers.py` to HTTP for senders,
`services/profile/http/answers.py` to HTTP for readers.
"""

from typing import ClassVar


class CustomerError(Exception):
    """Something a caller is told about, in words that are safe to show."""

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, reason: str | None = None, **facts: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.facts = {name: str(value) for name, value in facts.items()}


class InvalidInput(CustomerError):
    default_reason = "INVALID_INPUT"


class NotAuthenticated(InvalidInput):
    default_reason = "NOT_AUTHENTICATED"


class NotFound(CustomerError):
    default_reason = "NOT_FOUND"


class AlreadyExists(CustomerError):
    default_reason = "ALREADY_EXISTS"


class NotPermitted(CustomerError):
    default_reason = "NOT_PERMITTED"


class WrongState(CustomerError):
    default_reason = "WRONG_STATE"


class TooLarge(WrongState):
    default_reason = "TOO_LARGE"


class VersionGap(WrongState):
    default_reason = "VERSION_GAP"


class LogDamaged(WrongState):
    default_reason = "LOG_DAMAGED"


class Conflict(CustomerError):
    default_reason = "CONFLICT"


class LimitExceeded(CustomerError):
    default_reason = "LIMIT_EXCEEDED"


class DeadlineExceeded(CustomerError):
    default_reason = "DEADLINE_EXCEEDED"


class ProfileFailed(CustomerError):
    default_reason = "PROFILE_FAILED"


class Unavailable(CustomerError):
    default_reason = "UNAVAILABLE"


class NotFreshEnough(Unavailable):
    default_reason = "NOT_FRESH_ENOUGH"


class Fenced(Unavailable):
    default_reason = "FENCED"
