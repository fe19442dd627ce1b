"""Refuses to listen beyond this machine in clear, or for everybody, unless the operator says in so many words that it shall be."""

import ipaddress
from typing import Final

from shared.config import ConfigError, Settings, split_address

ANONYMOUS: Final = "anonymous"  # whoever reaches the gRPC door may do all
CLEARTEXT: Final = "cleartext"  # who is on the way reads tokens, write keys and profiles
WORDS: Final = (ANONYMOUS, CLEARTEXT)
DOORS: Final = ("grpc_address", "http_address")  # metrics hold no personal data, and whoever collects them is elsewhere


def exposed(settings: Settings) -> list[str]:
    """What is open by the operator's own word, for the log. Raises ConfigError naming what has to be set instead."""
    allowed = _words(settings.insecure)
    beyond = [name for name in DOORS if _is_beyond(str(getattr(settings, name, "")))]
    missing = []
    if "grpc_address" in beyond and settings.auth == "none":
        missing.append((ANONYMOUS, "C360_GRPC_ADDRESS lets in whoever reaches it: set C360_AUTH to jwt or mtls"))
    if beyond and not settings.tls_certificate:
        doors = " and ".join(f"C360_{name.upper()}" for name in beyond)
        missing.append((CLEARTEXT, f"{doors} would be read on the way: set C360_TLS_CERTIFICATE and C360_TLS_KEY"))
    if refused := [f"{why}, or allow it by C360_INSECURE={word}" for word, why in missing if word not in allowed]:
        raise ConfigError("this listens beyond this machine. " + "; ".join(refused))
    return [word for word, _ in missing]


def _words(said: str) -> set[str]:
    words = {word.strip() for word in said.split(",") if word.strip()}
    if unknown := words - set(WORDS):
        raise ConfigError(f"C360_INSECURE knows {', '.join(WORDS)}, not {', '.join(sorted(unknown))}")
    return words


def _is_beyond(address: str) -> bool:
    """A name other than localhost may become any address."""
    if not address:
        return False
    host, _ = split_address(address)
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host != "localhost"
