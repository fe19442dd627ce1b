"""How a service's gRPC door is secured, as its settings say."""

import grpc
import msgspec

from shared.callers import Callers
from shared.config import ConfigError, Settings
from shared.instants import Clock
from shared.rpc.door import ByCertificate, ByToken, Door
from shared.rpc.tokens import Tokens, TrustedIssuer

ISSUERS = msgspec.json.Decoder(list[TrustedIssuer])


class Security(msgspec.Struct, frozen=True):
    """Without a door everybody is let in; without credentials calls come in clear. `callers` have to be told who they are."""

    callers: Callers
    door: Door | None = None
    credentials: grpc.ServerCredentials | None = None


def secure(settings: Settings, clock: Clock) -> Security:
    """Raises ConfigError."""
    callers = Callers()
    return Security(callers, _door(settings, callers, clock), _credentials(settings))


def _door(settings: Settings, callers: Callers, clock: Clock) -> Door | None:
    match settings.auth:
        case "jwt":
            return Door(ByToken(Tokens(_issuers(settings.token_issuers), clock), callers), callers, clock)
        case "mtls":
            return Door(ByCertificate(callers), callers, clock)
        case "none":
            return None


def _issuers(content: str) -> list[TrustedIssuer]:
    try:
        return ISSUERS.decode(content)
    except msgspec.DecodeError as error:
        raise ConfigError(f"C360_TOKEN_ISSUERS is no list of issuers: {error}") from error


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if not settings.tls_certificate:
        return None
    return grpc.ssl_server_credentials(
        [(settings.tls_key.encode(), settings.tls_certificate.encode())],
        root_certificates=settings.tls_client_ca.encode() or None,
        require_client_auth=settings.auth == "mtls",
    )
