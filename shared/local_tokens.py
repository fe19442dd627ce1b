"""Tokens that an installation makes for itself, by a key in its folder of secrets, for when no other issuer knows its callers."""

import json
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from shared import private_files
from shared.events.callers import LOCAL_ISSUER
from shared.instants import SECOND

AUDIENCE: Final = "customer360"
ALGORITHM: Final = "ES256"
LONGEST_S: Final = 366 * 24 * 3600  # a token is taken back by defining its caller anew; one that is forgotten ends by itself


class LocalIssuer:
    """Files in `folder`: token-key.json holds the private key, token-keys.json is the key set that services verify by."""

    def __init__(self, folder: Path) -> None:
        self._key_file = folder / "token-key.json"
        self._keys_file = folder / "token-keys.json"

    @property
    def exists(self) -> bool:
        return self._key_file.exists()

    def make(self) -> None:
        """Once: what was made before stays."""
        with private_files.alone(self._key_file):
            if not self.exists:
                key = ec.generate_private_key(ec.SECP256R1())
                pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
                public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
                kid = public["x"][:16]
                private_files.write(self._keys_file, {"keys": [public | {"kid": kid, "alg": ALGORITHM, "use": "sig"}]})
                private_files.write(self._key_file, {"kid": kid, "pem": pem})

    def trusted(self) -> list[dict[str, str]]:
        """As C360_TOKEN_ISSUERS has it."""
        return [{"issuer": LOCAL_ISSUER, "keys": str(self._keys_file), "audience": AUDIENCE}]

    def token(self, subject: str, seconds: int, now: int) -> str:
        """For `seconds` from `now` on, an instant in microseconds."""
        held: dict[str, Any] = json.loads(self._key_file.read_bytes())
        key = load_pem_private_key(held["pem"].encode(), None)
        issued = now // SECOND
        claims = {"iss": LOCAL_ISSUER, "sub": subject, "aud": AUDIENCE, "iat": issued, "exp": issued + min(seconds, LONGEST_S)}
        return jwt.encode(claims, key, ALGORITHM, {"kid": held["kid"]})  # type: ignore[arg-type]
