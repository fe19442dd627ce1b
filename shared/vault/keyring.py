"""The keyring holds what must never be in a database: the key-encryption key, the key of the identifier hashes, and the key
that checkpoints are signed with.

`Keyring` is the seam for a key management service; `FileKeyring` is the default, a JSON file that only its owner reads.
"""

import base64
import json
import os
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.vault.envelope import KEY_BYTES, DataKey, Random

INSTALLATION_BYTES = 8


class Keyring(Protocol):
    """Wraps and unwraps data keys; names the key-encryption key it wraps with; signs what the logs attest."""

    @property
    def current_id(self) -> str: ...

    @property
    def lookup_key(self) -> bytes:
        """Key of the hashes that identifiers are looked up by; the same for the life of an installation."""
        ...

    @property
    def installation(self) -> str:
        """The installation's id, random hexadecimal digits: the logs of two installations never look alike."""
        ...

    @property
    def public_key(self) -> bytes:
        """Of `sign`: Ed25519, 32 bytes."""
        ...

    def wrap(self, key: bytes, owner: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, owner: bytes, key_id: str) -> bytes: ...

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        ...


class FileKeyring:
    """{"current": id, "keys": {id: base64}, "lookup": base64, "installation": hexadecimal, "signing": base64}."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text())
        self.current_id: str = content["current"]
        self.lookup_key = base64.b64decode(content["lookup"])
        self.installation: str = content["installation"]
        self._keys = {name: DataKey(base64.b64decode(key)) for name, key in content["keys"].items()}
        self._signing = Ed25519PrivateKey.from_private_bytes(base64.b64decode(content["signing"]))
        self.public_key = self._signing.public_key().public_bytes_raw()

    def wrap(self, key: bytes, owner: bytes) -> bytes:
        return self._keys[self.current_id].seal(key, owner)

    def unwrap(self, wrapped: bytes, owner: bytes, key_id: str) -> bytes:
        return self._keys[key_id].open(wrapped, owner)

    def sign(self, message: bytes) -> bytes:
        return self._signing.sign(message)

    @staticmethod
    def create(path: Path, random: Random = os.urandom) -> None:
        """Never overwrites: a lost keyring is lost data."""
        content = {
            "current": "1",
            "keys": {"1": _text(random(KEY_BYTES))},
            "lookup": _text(random(KEY_BYTES)),
            "installation": random(INSTALLATION_BYTES).hex(),
            "signing": _text(random(KEY_BYTES)),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
