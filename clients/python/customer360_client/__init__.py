"""Asks a customer360 installation about customers, and records what they decide and do: for threads (`Client`) or asyncio (`AsyncClient`).

Calls end within their time, are made again where that helps, have one effect, and include what the same client wrote before.
"""

from customer360_client.asyncio_client import AsyncClient
from customer360_client.caching import Caching
from customer360_client.calls import Judged
from customer360_client.client import Client
from customer360_client.credentials import Addresses, Settings, Tls, token_file
from customer360_client.errors import (
    ClientError,
    Conflict,
    Failed,
    InvalidRequest,
    LimitExceeded,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    OutOfTime,
    Unavailable,
    WrongState,
)
from customer360_client.messages import by_id, by_identifier, traits_of
from customer360_client.retrying import Retries

__all__ = [
    "Addresses",
    "AsyncClient",
    "Caching",
    "Client",
    "ClientError",
    "Conflict",
    "Failed",
    "InvalidRequest",
    "Judged",
    "LimitExceeded",
    "NotAuthenticated",
    "NotFound",
    "NotPermitted",
    "OutOfTime",
    "Retries",
    "Settings",
    "Tls",
    "Unavailable",
    "WrongState",
    "by_id",
    "by_identifier",
    "token_file",
    "traits_of",
]
