"""Tokens that an installation makes for itself, by a key in its folder of secrets, for when no other issuer knows its callers.

A key that was followed by another signs nothing more, and is trusted until the last of its tokens has ended.
"""

import json
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from shared import private_files
from shared.events.callers import LOCAL_ISSUER
from shared.instants import SECOND

AUDIENCE: Final = "customer360"
PUBLIC, KEYS_FILE = "public", "token-keys.json"
ALGORITHM: Final = "ES256"
LONGEST_S: Final = 366 * 24 * 3600  # a token is taken back by defining its caller anew; one that is forgotten ends by itself
AHEAD_S: Final = 10  # a key is known before it signs: services look for a new one that often
GRACE_S: Final = 30  # by which services let a token outlive its end, as clocks differ


class _Key(msgspec.Struct, frozen=True):
    """`pem` is empty when it signs nothing more. The last of its tokens ends at `ends_at`. Instants are microseconds."""

    kid: str
    pem: str
    public: dict[str, Any]
    signs_from: int = 0
    ends_at: int = 0


class _Keys(msgspec.Struct, frozen=True):
    """The form of the file, oldest first."""

    keys: tuple[_Key, ...] = ()


_decode = msgspec.json.Decoder(_Keys).decode


class LocalIssuer:
    """Files in `folder`: token-key.json holds the private keys, token-keys.json is the key set that services verify by.

    The latter is in `public` where there is such a folder, which services can be given without the rest.
    """

    def __init__(self, folder: Path) -> None:
        self._key_file = folder / "token-key.json"
        public = folder / PUBLIC
        self._keys_file = (public if public.is_dir() else folder) / KEYS_FILE

    @property
    def exists(self) -> bool:
        return self._key_file.exists()

    def make(self, now: int) -> None:
        """Once: what was made before stays, but for keys that are over."""
        with private_files.alone(self._key_file):
            held = self._held()
            self._write(_living(held, now) if held else (_new_key(0),))

    def rotate(self, now: int, at_once: bool = False) -> None:
        """Another key signs from AHEAD_S on. `at_once`: from now on, and what was signed before is trusted no more."""
        with private_files.alone(self._key_file):
            earlier = () if at_once else _living(self._held(), now)
            self._write((*earlier, _new_key(now if at_once else now + AHEAD_S * SECOND)))

    def trusted(self, keys_file: Path | None = None) -> list[dict[str, str]]:
        """As C360_TOKEN_ISSUERS has it; `keys_file` is where services find it, if that is elsewhere."""
        return [{"issuer": LOCAL_ISSUER, "keys": str(keys_file or self._keys_file), "audience": AUDIENCE}]

    def token(self, subject: str, seconds: int, now: int) -> str:
        """For `seconds` from `now` on, an instant in microseconds."""
        issued = now // SECOND
        ends = issued + min(seconds, LONGEST_S)
        claims = {"iss": LOCAL_ISSUER, "sub": subject, "aud": AUDIENCE, "iat": issued, "exp": ends}
        with private_files.alone(self._key_file):
            held = self._held()
            key = _signing(held, now)
            longer = msgspec.structs.replace(key, ends_at=max(key.ends_at, ends * SECOND))
            if longer != key:  # before the token is anywhere: nothing ends what isn't known of
                self._write(_living(tuple(longer if one is key else one for one in held), now))
        private = load_pem_private_key(key.pem.encode(), None)
        return jwt.encode(claims, private, ALGORITHM, {"kid": key.kid})  # type: ignore[arg-type]

    def _held(self) -> tuple[_Key, ...]:
        return _decode(self._key_file.read_bytes()).keys if self.exists else ()

    def _write(self, keys: tuple[_Key, ...]) -> None:
        """What is trusted first: a key signs nothing that nobody trusts."""
        private_files.write(self._keys_file, {"keys": [key.public for key in keys]})
        private_files.write(self._key_file, msgspec.to_builtins(_Keys(keys)))


def _new_key(signs_from: int) -> _Key:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    kid = public["x"][:16]
    return _Key(kid, pem, public | {"kid": kid, "alg": ALGORITHM, "use": "sig"}, signs_from)


def _signing(keys: tuple[_Key, ...], now: int) -> _Key:
    """The newest that does already; when a clock was set back, the oldest that still can."""
    able = [key for key in keys if key.pem]
    return next((key for key in reversed(able) if key.signs_from <= now), able[0])


def _living(keys: tuple[_Key, ...], now: int) -> tuple[_Key, ...]:
    """Of a key that another has followed no more than what verifies its tokens is kept, and that until the last of them has ended."""
    if not keys:
        return ()
    place = keys.index(_signing(keys, now))
    earlier = [msgspec.structs.replace(key, pem="") for key in keys[:place] if now < key.ends_at + GRACE_S * SECOND]
    return (*earlier, *keys[place:])
