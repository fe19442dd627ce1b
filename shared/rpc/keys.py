"""The public keys of an issuer of tokens: a JSON Web Key Set (RFC 7517) in a file or at a URL, read anew as keys change.

A key that the set doesn't name is looked for again, at most every REREAD_S; what was taken out of the set counts for at most FRESH_S more.
While the set can't be read, what was read last goes on counting for STALE_S.
"""

import asyncio
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.errors import Unavailable
from shared.telemetry import logger

REREAD_S: Final = 10.0
FRESH_S: Final = 60.0
STALE_S: Final = 3600.0
TIMEOUT_S: Final = 5.0
MOST_BYTES: Final = 256 * 1024
MOST_KEYS: Final = 100  # issuers have a few
SMALLEST_RSA_BITS: Final = 2048  # RFC 7518, 3.3
ALGORITHMS: Final = ("EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")  # by public keys
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

log = logger("keys")


class KeySet:
    """`place` is a path or a URL: https, or http on this machine. `clock` is in seconds and never runs backwards."""

    def __init__(self, place: str, clock: Callable[[], float]) -> None:
        self._place = place
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._turn = asyncio.Lock()

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """Raises Unavailable (KEYS_UNREADABLE)."""
        if not self._is_young(self._read_at, FRESH_S) or kid not in self._keys:
            async with self._turn:
                if not self._is_young(self._tried_at, REREAD_S):
                    await self._read()
        if not self._is_young(self._read_at, STALE_S):
            raise Unavailable("the keys of the issuer of this token can't be read", reason="KEYS_UNREADABLE")
        return self._keys.get(kid)

    def _is_young(self, at: float | None, seconds: float) -> bool:
        return at is not None and self._clock() - at < seconds

    async def _read(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = _parsed(await asyncio.to_thread(_fetched, self._place))
            self._read_at = self._tried_at
        except (OSError, ValueError, jwt.PyJWTError) as error:
            log.warning("the keys of an issuer can't be read", place=self._place, error=type(error).__name__)


def _parsed(content: bytes) -> dict[str, jwt.PyJWK]:
    """Keys that can't verify anything here are left out."""
    found = jwt.PyJWKSet.from_json(content.decode()).keys[:MOST_KEYS]
    return {key.key_id: key for key in found if key.key_id and key.algorithm_name in ALGORITHMS and _is_strong(key.key)}


def _is_strong(key: Any) -> bool:
    return not isinstance(key, RSAPublicKey) or key.key_size >= SMALLEST_RSA_BITS


def _fetched(place: str) -> bytes:
    if "://" not in place:
        with Path(place).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    else:
        with _opener().open(_checked(place), timeout=TIMEOUT_S) as answer:
            content = answer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError("a key set is larger than any that is known")
    return content


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError("keys are fetched by https alone")
    return url


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Stay())


class _Stay(urllib.request.HTTPRedirectHandler):
    """Keys come from where the operator said, and from nowhere that this place names."""

    def redirect_request(self, *_: Any) -> None:
        return None
