"""What a call is, before anybody makes it: both clients make the same ones. Here nothing waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from google.protobuf.message import Message

from customer360_client.credentials import OWNER, READERS, Answering
from customer360_client.errors import ClientError

Answer = TypeVar("Answer")
Service = Literal["profile", "consent", "ingest"]
# What each process of a service answers, also those that stand by for the owner of its log.
READS: Final = frozenset(
    f"/c360.{service}/{method}"
    for service, methods in (
        ("profile.v1.ProfileService", ("GetProfile", "BatchGetProfiles", "LookupCustomer", "GetTimeline")),
        ("consent.v1.ConsentService", ("Check", "CheckBatch", "FilterAudience")),
    )
    for method in methods
)


def nothing(_error: ClientError) -> None: ...


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """`finish` makes of the response what the caller gets, and keeps what is to be kept. `refused` hears why there is none. Where
    `at_hand` is set, nobody needs to be asked. `streams`: the method takes a stream; the request is all of it, and the response its first."""

    service: Service
    method: str
    request: Message
    response: type[Message]
    finish: Callable[[Any], Answer]
    timeout_s: float
    refused: Callable[[ClientError], None] = nothing
    at_hand: Answer | None = None
    streams: bool = False
    request_id: str = ""

    @property
    def answering(self) -> Answering:
        return READERS if self.method in READS else OWNER

    def told(self, error: ClientError) -> ClientError:
        error.request_id = self.request_id
        self.refused(error)
        return error


@dataclass(frozen=True)
class Judged:
    """Whether one of an audience permits the purpose; if not, why, as a machine-readable word."""

    permitted: bool
    reason: str = ""


def serialized(message: Message) -> bytes:
    return bytes(message.SerializeToString())


def same(response: Any) -> Any:
    return response
