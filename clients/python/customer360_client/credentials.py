"""What a caller proves itself by: a token, or a certificate; and where the services are."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import grpc

from customer360_client.caching import Caching
from customer360_client.retrying import Retries

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
SEVERAL: Final = ("ipv4:", "ipv6:", "dns:")  # schemes of what may be several addresses
# Of several processes one does what is the owner's, and all of them answer reads: each tells by its health what it answers.
Answering = Literal["", "c360.reads"]
OWNER: Final[Answering] = ""
READERS: Final[Answering] = "c360.reads"
Options = tuple[tuple[str, Any], ...]
# A channel must not sit out gRPC's default pause of up to two minutes when a service is back after one second; retrying is ours.
OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.enable_retries", 0),
    # A service that is gone without a word (its machine lost power) is noticed after 30 s at most, also where nothing was to be said.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(frozen=True)
class Addresses:
    """Of gRPC. Of several processes name all: "ipv4:10.0.0.1:50053,10.0.0.2:50053", or "dns:///profile:50053" where a name has them all."""

    profile: str = "127.0.0.1:50053"
    consent: str = "127.0.0.1:50054"
    ingest: str = "127.0.0.1:50051"


@dataclass(frozen=True)
class Tls:
    """PEM. `root` is who issues the services' certificates (default: those that gRPC knows); the other two are the caller's own, where
    services ask for one."""

    root: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)

    @classmethod
    def of_files(cls, root: Path | str | None = None, certificate: Path | str | None = None, key: Path | str | None = None) -> Tls:
        return cls(*(Path(path).read_bytes() if path else None for path in (root, certificate, key)))


@dataclass(frozen=True)
class Settings:
    """`token` is one, or a function that tells the newest one, such as `token_file`; it is asked again every `token_age_s`, and when
    the one that it told is refused. Tokens and write keys go in clear beyond this machine only if `in_clear` says so."""

    addresses: Addresses = Addresses()
    token: str | Callable[[], str] | None = field(default=None, repr=False)
    token_age_s: float = 60.0
    write_key: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    in_clear: bool = False
    timeout_s: float = 5.0  # of a call as a whole, unless it says otherwise
    retries: Retries = field(default_factory=Retries)
    caching: Caching = field(default_factory=Caching)


def token_file(path: Path | str) -> Callable[[], str]:
    return lambda: Path(path).read_text().strip()


class Token:
    """The one that counts. For all threads."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._token = settings.token
        self._age_s = settings.token_age_s
        self._clock = clock
        self._told: str | None = None
        self._until = 0.0
        self._turn = threading.Lock()

    @property
    def waits(self) -> bool:
        """Whether it may take a while to be told: a function is asked, which may read files or call somebody."""
        return callable(self._token) and (self._told is None or self._clock() >= self._until)

    def get(self) -> str | None:
        if not callable(self._token):
            return self._token
        with self._turn:
            if self._told is None or self._clock() >= self._until:
                self._told, self._until = self._token(), self._clock() + self._age_s
            return self._told

    def renew(self) -> bool:
        """Whether another one may be had."""
        self._until = 0.0
        return callable(self._token)


def channel_options(address: str, answering: Answering) -> Options:
    """Of several processes those are asked whose health says that they answer."""
    if not address.startswith(SEVERAL):
        return OPTIONS
    by_health = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": answering}}
    return (*OPTIONS, ("grpc.service_config", json.dumps(by_health)))


def is_loopback(address: str) -> bool:
    """Whether all of them are. A name that may be anybody's isn't."""
    scheme = next((scheme for scheme in SEVERAL if address.startswith(scheme)), "")
    return all(one.rpartition(":")[0] in LOOPBACK for one in address[len(scheme) :].split(","))


def channel_credentials(settings: Settings, address: str) -> grpc.ChannelCredentials | None:
    """None: in clear. Raises ValueError."""
    if settings.tls is not None:
        return grpc.ssl_channel_credentials(settings.tls.root, settings.tls.key, settings.tls.certificate)
    if (settings.token or settings.write_key) and not settings.in_clear and not is_loopback(address):
        raise ValueError(f"a credential would go to {address} in clear: give `tls`, or say `in_clear`")
    return None


def bearer(credential: str | None) -> tuple[tuple[str, Any], ...]:
    return (("authorization", f"Bearer {credential}"),) if credential else ()
