"""What ingest publishes about its sources."""

from shared.events.catalogue import Public, register

OWNER = "ingest"
FOLLOWERS: tuple[str, ...] = ()


class SourceRegistered(Public, frozen=True, kw_only=True):
    """A sending system got a name and a write key."""

    request_id: str
    name: str
    write_key_hash: bytes  # SHA-256; the key itself is random, so a plain hash is enough
    write_key_hint: str


SOURCE_REGISTERED = register("source.registered", 1, SourceRegistered)
