"""Another certificate while the doors are open: who connects from then on is shown it, and connections that there are go on."""

import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shared.config import ConfigError, Settings

# What may change so. Whether there is TLS at all may not, nor who issues the certificates of who calls over HTTP: Python adds authorities alone.
RENEWED: Final = ("tls_certificate", "tls_key", "tls_client_ca")

_doors: list[Callable[[Settings], None]] = []


def on_renewal(take: Callable[[Settings], None]) -> None:
    """`take` gets the settings that hold from then on; their certificates were looked at."""
    _doors.append(take)


def renew(before: Settings, now: Settings) -> list[str]:
    """Gives the doors what `now` says; which fields hold from now on. Raises ConfigError, and the doors go on as they were."""
    if not (before.tls_certificate and now.tls_certificate):
        return []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        load(context, now.tls_certificate, now.tls_key)
        if now.tls_client_ca:
            context.load_verify_locations(cadata=now.tls_client_ca)
    except ssl.SSLError as error:
        raise ConfigError(f"C360_TLS_CERTIFICATE, C360_TLS_KEY or C360_TLS_CLIENT_CA: {error.reason}") from error
    for take in _doors:
        take(now)
    return list(RENEWED)


def load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python reads them from files alone; this one is gone before anybody else could open it. Raises SSLError, also where they are no pair."""
    with tempfile.TemporaryDirectory(prefix="c360-") as folder:
        file = Path(folder) / "certificate"
        file.touch(mode=0o600)
        file.write_text(f"{key}\n{certificate}\n")
        context.load_cert_chain(file)
