"""Refuses to listen beyond this machine in clear, or for everybody, and to talk so to a broker beyond it, unless the operator says in so
many words that it shall be."""

import ipaddress
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from shared.config import ConfigError, Settings, split_address

ANONYMOUS: Final = "anonymous"  # whoever reaches the gRPC door may do all
CLEARTEXT: Final = "cleartext"  # who is on the way reads tokens, write keys and profiles
WORDS: Final = (ANONYMOUS, CLEARTEXT)
DOORS: Final = ("grpc_address", "http_address")  # metrics hold no personal data, and whoever collects them is elsewhere


def exposed(settings: Settings) -> list[str]:
    """What is open by the operator's own word, for the log. Raises ConfigError naming what has to be set instead."""
    allowed = _words(settings.insecure)
    missing = [*_doors(settings), *_broker(settings.nats_url)]
    if refused := [f"{why}, or allow it by C360_INSECURE={word}" for word, why in missing if word not in allowed]:
        raise ConfigError("this reaches beyond this machine. " + "; ".join(refused))
    return list(dict.fromkeys(word for word, _ in missing))


def _doors(settings: Settings) -> Iterator[tuple[str, str]]:
    """Which word would allow what is missing there, and what that is."""
    beyond = [name for name in DOORS if _is_beyond(str(getattr(settings, name, "")))]
    if "grpc_address" in beyond and settings.auth == "none":
        yield ANONYMOUS, "C360_GRPC_ADDRESS lets in whoever reaches it: set C360_AUTH to jwt or mtls"
    if beyond and not settings.tls_certificate:
        doors = " and ".join(f"C360_{name.upper()}" for name in beyond)
        yield CLEARTEXT, f"{doors} would be read on the way: set C360_TLS_CERTIFICATE and C360_TLS_KEY"


def _broker(urls: str) -> Iterator[tuple[str, str]]:
    """As `_doors`. A broker without accounts lets in whoever reaches it; one that is named without an account may be such."""
    servers = [urlsplit(url) for url in urls.split(",")]
    beyond = [server for server in servers if _is_beyond_host(server.hostname or "")]
    if beyond and not servers[0].username:  # it is who we are at each of them
        yield ANONYMOUS, "C360_NATS_URL names no account, and who needs none there may do all: give it nats://USER:PASSWORD@HOST"
    if any(server.scheme != "tls" for server in beyond):
        yield CLEARTEXT, "what goes to C360_NATS_URL would be read on the way: give it tls://"


def _words(said: str) -> set[str]:
    words = {word.strip() for word in said.split(",") if word.strip()}
    if unknown := words - set(WORDS):
        raise ConfigError(f"C360_INSECURE knows {', '.join(WORDS)}, not {', '.join(sorted(unknown))}")
    return words


def _is_beyond(address: str) -> bool:
    return bool(address) and _is_beyond_host(split_address(address)[0])


def _is_beyond_host(host: str) -> bool:
    """A name other than localhost may become any address."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host != "localhost"
