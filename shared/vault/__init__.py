"""Keys: one per customer stream, one per ingest epoch, wrapped under a key-encryption key that never enters a database."""

from shared.vault.envelope import DataKey, EnvelopeBroken
from shared.vault.keyring import FileKeyring, Keyring
from shared.vault.vault import Vault

__all__ = ["DataKey", "EnvelopeBroken", "FileKeyring", "Keyring", "Vault"]
