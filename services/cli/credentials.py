"""What `c360` proves itself by: a token, and where services ask for it a client certificate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from services.cli.errors import Misused


class _Call(NamedTuple):
    """What gRPC knows of a call; it takes whatever has these names."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


class Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the token to every call that has no credential of its own, such as a write key."""

    def __init__(self, token: str) -> None:
        self._said = ("authorization", f"Bearer {token}")

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(self._with_token(details), request)

    def intercept_stream_stream(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        return continuation(self._with_token(details), requests)

    def _with_token(self, details: Any) -> _Call:
        metadata = list(details.metadata or ())
        if all(key != "authorization" for key, _ in metadata):
            metadata.append(self._said)
        return _Call(
            details.method,
            details.timeout,
            metadata,
            details.credentials,
            details.wait_for_ready,
            getattr(details, "compression", None),
        )


def channel_credentials(environ: Mapping[str, str]) -> grpc.ChannelCredentials | None:
    """None: calls go in clear. Raises Misused (CERTIFICATE_UNREADABLE)."""
    if not environ.get("C360_TLS_CA_FILE"):
        return None
    ca, key, certificate = (_pem(environ.get(f"C360_TLS_{name}_FILE")) for name in ("CA", "KEY", "CERTIFICATE"))
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _pem(path: str | None) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise Misused("CERTIFICATE_UNREADABLE", f"{path}: {error.strerror}") from error
