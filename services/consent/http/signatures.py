"""Whether a request is from who knows our secret: HMAC-SHA-256 over the instant and the body, in two headers."""

import hashlib
import hmac
from collections.abc import Collection
from pathlib import Path
from typing import Final

from shared.errors import NotAuthenticated, Unavailable
from shared.instants import SECOND

SIGNATURE, TIMESTAMP = "x-c360-signature", "x-c360-timestamp"
TOLERANCE_S: Final = 300  # between the sender's clock and ours; what is sent again within it has no second effect
LEAST_SECRET_CHARACTERS: Final = 32
MOST_SECRETS_BYTES: Final = 4_096


def signature_of(secret: str, timestamp: str, body: bytes) -> str:
    """Hexadecimal; `timestamp` is seconds since 1970."""
    return hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hex()


def check(presented: str, timestamp: str, body: bytes, secrets: Collection[str], now: int) -> None:
    """Any of the secrets will do, so that they can be changed one side after the other.

    Raises NotAuthenticated (SIGNATURE_MISSING, SIGNATURE_TOO_OLD, SIGNATURE_INVALID).
    """
    if not presented or not timestamp:
        raise NotAuthenticated(f"sign the request: {TIMESTAMP} and {SIGNATURE}", reason="SIGNATURE_MISSING")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise NotAuthenticated(f"{TIMESTAMP} is seconds since 1970", reason="SIGNATURE_INVALID")
    if abs(int(timestamp) * SECOND - now) > TOLERANCE_S * SECOND:
        raise NotAuthenticated("the request was signed too long ago, or a clock is wrong", reason="SIGNATURE_TOO_OLD")
    made = [signature_of(secret, timestamp, body).encode() for secret in secrets]
    if not any(hmac.compare_digest(one, presented.lower().encode(errors="replace")) for one in made):
        raise NotAuthenticated("the signature isn't of this request and our secret", reason="SIGNATURE_INVALID")


class SecretFile:
    """One secret a line, in force from the next request on. A file that isn't there has none; nor has no file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def all(self) -> list[str]:
        """Raises Unavailable (SECRETS_UNREADABLE): one of them is too short to be one, too."""
        if self._path is None:
            return []
        try:
            with self._path.open("rb") as file:
                secrets = file.read(MOST_SECRETS_BYTES).decode().split()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise _unreadable() from error
        if any(len(secret) < LEAST_SECRET_CHARACTERS for secret in secrets):
            raise _unreadable()
        return secrets


def _unreadable() -> Unavailable:
    return Unavailable(
        f"the secrets can't be read, or one has less than {LEAST_SECRET_CHARACTERS} characters", reason="SECRETS_UNREADABLE"
    )
