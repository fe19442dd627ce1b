"""Reads a frozen, typed struct from environment variables, once, at start.

A field `grpc_address` is read from `C360_GRPC_ADDRESS`, or from the file that `C360_GRPC_ADDRESS_FILE` names.
"""

import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from shared.poison import POISON_RUN_LIMIT

PREFIX = "C360_"
Partitions = Annotated[int, msgspec.Meta(ge=1, le=256)]  # each costs a writer and its share of the connections
NatsReplicas = Annotated[int, msgspec.Meta(ge=1, le=5)]  # as JetStream has it; three outlive one
PoisonRunLimit = Annotated[int, msgspec.Meta(ge=2)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
Auth = Literal["none", "jwt", "mtls"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service needs to know."""

    database_url: str
    vault_url: str
    keyring_file: str
    nats_url: str = "nats://127.0.0.1:4222"  # several, with commas between them, of a cluster
    nats_replicas: NatsReplicas = 1  # of each stream that is made
    nats_ca: str = ""  # PEM: who issues the broker's certificate
    grpc_address: str
    metrics_address: str
    replica: str = ""  # its name among the processes of the service; empty: by its host and its address
    partitions: Partitions = 4
    poison_run_limit: PoisonRunLimit = POISON_RUN_LIMIT
    log_level: LogLevel = "info"
    otlp_endpoint: str = ""  # base URL of a collector of traces; empty: there are none
    trace_ratio: Ratio = 0.01  # of the requests that don't say themselves whether they are traced
    auth: Auth = "none"  # none: whoever reaches the port may do all
    token_issuers: str = ""  # JSON: a list of shared.rpc.tokens.TrustedIssuer
    tls_certificate: str = ""  # PEM, as all three; with its key. Without it calls come in clear
    tls_key: str = ""
    tls_client_ca: str = ""  # who issues the certificates of callers
    http_client_ca: str = ""  # PEM: who issues those of who calls over HTTP; without it none are asked for
    insecure: str = ""  # words of shared.exposure: what may be open beyond this machine

    @property
    def replica_name(self) -> str:
        """The same for whoever is started anew in the place of a process that is gone: nobody else can listen there."""
        return self.replica or f"{socket.gethostname()} {self.grpc_address}"

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if self.auth == "jwt" and not self.token_issuers:
            raise ConfigError("C360_AUTH=jwt needs C360_TOKEN_ISSUERS")
        if self.auth == "mtls" and not (self.tls_certificate and self.tls_client_ca):
            raise ConfigError("C360_AUTH=mtls needs C360_TLS_CERTIFICATE, C360_TLS_KEY and C360_TLS_CLIENT_CA")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ConfigError("C360_TLS_CERTIFICATE and C360_TLS_KEY belong together")
        if self.http_client_ca and not self.tls_certificate:
            raise ConfigError("C360_HTTP_CLIENT_CA needs C360_TLS_CERTIFICATE and C360_TLS_KEY")


class ConfigError(Exception):
    """A variable is missing or has the wrong form; the text names it."""


S = TypeVar("S", bound=msgspec.Struct)


def read_settings(kind: type[S], environ: Mapping[str, str]) -> S:
    """Raises ConfigError naming every variable that is missing, or the one that has the wrong form."""
    fields = msgspec.structs.fields(kind)
    found = {field.name: value for field in fields if (value := _lookup(field.name, environ)) is not None}
    missing = [_variable(field.name) for field in fields if field.required and field.name not in found]
    if missing:
        raise ConfigError(f"set {', '.join(missing)} (or the same name with _FILE)")
    return kind(**{field.name: _convert(field, found[field.name]) for field in fields if field.name in found})


def differing(one: S, other: S, without: Collection[str] = ()) -> list[str]:
    """The variables that say something else, but for these fields. Names alone: what they say may be a password."""
    fields = (name for name in one.__struct_fields__ if name not in without)
    return [_variable(name) for name in fields if getattr(one, name) != getattr(other, name)]


def _convert(field: msgspec.structs.FieldInfo, value: str) -> Any:
    """The value itself stays out of the text: it may be a password in the wrong place."""
    try:
        return msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{_variable(field.name)} {_allowed(field.type) or error}") from error


def _allowed(kind: Any) -> str:
    match msgspec.inspect.type_info(kind):
        case msgspec.inspect.LiteralType():
            return f"must be one of {', '.join(get_args(kind))}"
        case msgspec.inspect.IntType(ge=int(least), le=int(most)):
            return f"must be a whole number from {least} to {most}"
        case msgspec.inspect.FloatType():
            return "must be a number from 0 to 1"
        case msgspec.inspect.IntType():
            return "must be a whole number"
    return ""


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _lookup(field: str, environ: Mapping[str, str]) -> str | None:
    name = _variable(field)
    if name in environ:
        return environ[name]
    if (path := environ.get(f"{name}_FILE")) is not None:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ConfigError(f"{name}_FILE cannot be read: {error.strerror}") from error
    return None


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 50051) from "127.0.0.1:50051"."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"an address has the form host:port, not {address!r}")
    return host, int(port)
