"""The key that what was sent as a signal is sealed under: an installation's, like the keyed hashes of identifiers.

Evidence of a decision has to outlive the keys of the customer, whose data it isn't: nobody's name is in it.
"""

import hashlib
import hmac

from shared.identifiers import HASH_BYTES
from shared.vault.envelope import DataKey


class EvidenceKey:
    def __init__(self, lookup_key: bytes) -> None:
        self.data_key = DataKey(hmac.digest(lookup_key, b"consent evidence", hashlib.sha256))
        self._hash_key = hmac.digest(lookup_key, b"consent evidence hash", hashlib.sha256)

    def hash_of(self, text: str) -> bytes:
        """The same of equal texts. Half of a surrogate pair, which no decoder takes, has a hash too."""
        return hmac.digest(self._hash_key, text.encode(errors="surrogatepass"), hashlib.sha256)[:HASH_BYTES]
