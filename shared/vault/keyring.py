"""The keyring holds what must never be in a database: the key-encryption keys, the key of the identifier hashes, and the
key that checkpoints and certificates are signed with.

`Keyring` is the seam for a key management service. What such a service has to do is what the protocol says: wrap and
unwrap 32 bytes bound to their owner (its encryption context), keep older key-encryption keys for unwrapping until they
are retired, and sign with Ed25519. `FileKeyring` is the default, a JSON file that only its owner reads.
"""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.private_files import alone, stamp, write
from shared.vault.envelope import KEY_BYTES, DataKey, Random

INSTALLATION_BYTES = 8


class KeyNotHeld(Exception):
    """Something is wrapped under a key-encryption key that this keyring doesn't hold; its id is the text."""


class Keyring(Protocol):
    """Wraps and unwraps data keys, and signs. Every member may be called from the event loop: an implementation that asks
    a server keeps what it was told in memory."""

    @property
    def current_id(self) -> str:
        """Of the key-encryption key to wrap with. It changes at a rotation, while processes run."""
        ...

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

    def wrap(self, key: bytes, owner: bytes) -> tuple[str, bytes]:
        """The id of the key-encryption key, and the wrapped key. It unwraps for this owner only."""
        ...

    def unwrap(self, wrapped: bytes, owner: bytes, key_id: str) -> bytes:
        """Raises KeyNotHeld, EnvelopeBroken."""
        ...

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        ...


class FileKeyring:
    """{"current": id, "keys": {id: base64}, "lookup": base64, "installation": hexadecimal, "signing": base64}.

    Processes notice when the file is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._load()

    @property
    def current_id(self) -> str:
        self._notice_rotation()
        return self._current_id

    @property
    def key_ids(self) -> list[str]:
        """Oldest first."""
        self._notice_rotation()
        return list(self._keys)

    @property
    def next_id(self) -> str:
        """That `add_key` will give."""
        return _next_id(self._read())

    def age_s(self) -> float:
        """Seconds since the file was made or a key added."""
        return time.time() - self._path.stat().st_mtime

    @property
    def public_key(self) -> bytes:
        return self._signing.public_key().public_bytes_raw()

    def wrap(self, key: bytes, owner: bytes) -> tuple[str, bytes]:
        current = self.current_id
        return current, self._keys[current].seal(key, owner)

    def unwrap(self, wrapped: bytes, owner: bytes, key_id: str) -> bytes:
        if key_id not in self._keys:
            self._load()
        if key_id not in self._keys:
            raise KeyNotHeld(key_id)
        return self._keys[key_id].open(wrapped, owner)

    def sign(self, message: bytes) -> bytes:
        return self._signing.sign(message)

    def add_key(self, random: Random = os.urandom) -> str:
        """Adds a key-encryption key and makes it the current one. Its id."""
        with alone(self._path):
            content = self._read()
            added = _next_id(content)
            content["keys"][added] = _text(random(KEY_BYTES))
            write(self._path, content | {"current": added})
        self._load()
        return added

    def retire_key(self, key_id: str) -> None:
        """Forgets a key-encryption key for ever: whatever is still wrapped under it, in a backup too, is unreadable."""
        with alone(self._path):
            content = self._read()
            assert key_id != content["current"], "the current key can't be retired"
            content["keys"].pop(key_id, None)
            write(self._path, content)
        self._load()

    @staticmethod
    def create(path: Path, random: Random = os.urandom) -> None:
        """Never overwrites: a lost keyring is lost data. Raises FileExistsError."""
        content = {
            "current": "1",
            "keys": {"1": _text(random(KEY_BYTES))},
            "lookup": _text(random(KEY_BYTES)),
            "installation": random(INSTALLATION_BYTES).hex(),
            "signing": _text(random(KEY_BYTES)),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path):
            if path.exists():
                raise FileExistsError(f"there is a keyring already: {path}")
            write(path, content)

    def _notice_rotation(self) -> None:
        """One look at the file's state; keys are wrapped in batches, so this is paid once a batch."""
        if stamp(self._path) != self._stamp:
            self._load()

    def _load(self) -> None:
        self._stamp = stamp(self._path)
        content = self._read()
        self._current_id: str = content["current"]
        self.lookup_key = base64.b64decode(content["lookup"])
        self._keys = {name: DataKey(base64.b64decode(key)) for name, key in content["keys"].items()}
        self.installation: str = content["installation"]
        self._signing = Ed25519PrivateKey.from_private_bytes(base64.b64decode(content["signing"]))

    def _read(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._path.read_text())
        return content


def _next_id(content: dict[str, Any]) -> str:
    return str(max(int(name) for name in content["keys"]) + 1)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
