"""Keys: one per customer stream, one per ingest epoch, wrapped under a key-encryption key that never enters a database."""

from shared.vault.envelope import DataKey, EnvelopeBroken
from shared.vault.keyring import FileKeyring, KeyNotHeld, Keyring
from shared.vault.vault import KEY_AGE_S, Vault

__all__ = ["KEY_AGE_S", "DataKey", "EnvelopeBroken", "FileKeyring", "KeyNotHeld", "Keyring", "Vault"]
