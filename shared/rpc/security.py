"""How a service's gRPC door is secured, as its settings say."""

import grpc
import msgspec

from shared.callers import Callers
from shared.config import ConfigError, Settings
from shared.instants import Clock
from shared.renewal import on_renewal
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
    certificates = _Certificates(settings)
    on_renewal(certificates.take)
    return grpc.dynamic_ssl_server_credentials(
        certificates.newest,
        certificates.find_newer,  # type: ignore[arg-type]  # the stubs don't know that it may have nothing newer
        require_client_authentication=settings.auth == "mtls",
    )


class _Certificates:
    """What the core asks for at each new connection, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self.newest = self._shown = _configuration(settings)

    def take(self, settings: Settings) -> None:
        self.newest = _configuration(settings)

    def find_newer(self) -> grpc.ServerCertificateConfiguration | None:
        """None: what the core has is the newest."""
        if (newest := self.newest) is self._shown:
            return None
        self._shown = newest
        return newest


def _configuration(settings: Settings) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(settings.tls_key.encode(), settings.tls_certificate.encode())],
        root_certificates=settings.tls_client_ca.encode() or None,
    )
