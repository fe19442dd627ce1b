"""How the HTTP doors are secured, by the certificate that the gRPC door has."""

import ssl

from shared.config import ConfigError, Settings
from shared.renewal import load, on_renewal


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """None: calls come in clear. The certificate may be renewed. Raises ConfigError.

    Who calls proves itself by a key, a token or a link, also where gRPC asks for certificates: browsers and people have none.
    """
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        load(context, settings.tls_certificate, settings.tls_key)
        if settings.http_client_ca:
            context.load_verify_locations(cadata=settings.http_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise ConfigError(f"C360_TLS_CERTIFICATE, C360_TLS_KEY or C360_HTTP_CLIENT_CA is no such PEM: {error.reason}") from error
    on_renewal(lambda now: load(context, now.tls_certificate, now.tls_key))
    return context
