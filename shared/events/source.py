"""What ingest publishes about its sources: who may send, by which keys, within which limits, and by which tracking plan."""

from typing import Final

from shared.events.catalogue import Public, register

OWNER = "ingest"
FOLLOWERS = ("ingest",)  # every replica follows what the others change

FIRST_KEY: Final = "first"
MIDDLE_RANK: Final = 500


class SourceRegistered(Public, frozen=True, kw_only=True):
    """A sending system got a name, a write key and its settings; what is absent is as a new source had it when this was written."""

    request_id: str
    name: str
    write_key_hash: bytes  # SHA-256; the key itself is random, so a plain hash is enough
    write_key_hint: str
    key_name: str = FIRST_KEY
    allowed_types: tuple[str, ...] = ()  # none: all
    events_per_s: int = 0  # 0: without limit
    max_event_bytes: int = 98_304
    max_batch_events: int = 2_500
    region: str = ""  # ISO 3166, of phone numbers without a country code
    trust_rank: int = MIDDLE_RANK
    far_past_s: int = 315_360_000
    far_future_s: int = 86_400


class SettingsChanged(Public, frozen=True, kw_only=True):
    """What a source may send, and its trust rank; all of it, as it is from here on."""

    request_id: str
    source: str
    allowed_types: tuple[str, ...] = ()  # none: all
    events_per_s: int = 0  # 0: without limit
    max_event_bytes: int
    max_batch_events: int
    region: str = ""  # ISO 3166, of phone numbers without a country code
    trust_rank: int = MIDDLE_RANK  # the larger is to be believed before the smaller; no profile goes by it yet
    far_past_s: int
    far_future_s: int


class KeyAdded(Public, frozen=True, kw_only=True):
    """A source got a further write key."""

    request_id: str
    source: str
    key_name: str
    write_key_hash: bytes
    write_key_hint: str


class KeyRevoked(Public, frozen=True, kw_only=True):
    """A write key opens nothing any more."""

    request_id: str
    source: str
    key_name: str
    write_key_hash: bytes


class PlanPublished(Public, frozen=True, kw_only=True):
    """A source is held to a new version of its tracking plan. It speaks of names and rules, never of a person."""

    request_id: str
    source: str
    version: int  # from 1
    document: str  # JSON


SOURCE_REGISTERED = register("source.registered", 1, SourceRegistered)
SETTINGS_CHANGED = register("source.settings_changed", 1, SettingsChanged)
KEY_ADDED = register("source.key_added", 1, KeyAdded)
KEY_REVOKED = register("source.key_revoked", 1, KeyRevoked)
PLAN_PUBLISHED = register("source.plan_published", 1, PlanPublished)
KINDS: Final = {kind.public: kind for kind in (SOURCE_REGISTERED, SETTINGS_CHANGED, KEY_ADDED, KEY_REVOKED, PLAN_PUBLISHED)}
