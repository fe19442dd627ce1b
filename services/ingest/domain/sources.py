"""Sources: who may send events, by which keys. A source is registered once; its name is its stream. Pure.

A command that was carried out before gives no event: its answer already stands in the log.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from services.ingest.domain import settings
from services.ingest.domain.settings import Settings
from shared.errors import AlreadyExists, InvalidInput, NotFound, WrongState
from shared.events.source import KeyAdded, KeyRevoked, SettingsChanged, SourceRegistered
from shared.ids import derived_id
from shared.request_ids import check_request_id, reused

PARTITION: Final = 0
KEY_PREFIX: Final = "wk_"
KEY_BYTES: Final = 32
HINT_CHARACTERS: Final = 9
MAX_KEYS: Final = 100  # that a source has at a time: one an app and environment, and some to change over
NAME = re.compile(r"[a-z0-9\-]{1,64}")

Event = SourceRegistered | SettingsChanged | KeyAdded | KeyRevoked


class Source(msgspec.Struct, frozen=True):
    """`keys` are those that open the door, by name; `names` are all that were ever given to a key."""

    name: str
    settings: Settings = Settings()
    keys: dict[str, bytes] = {}
    names: frozenset[str] = frozenset()
    requests: dict[str, Event] = {}


class RegisterSource(msgspec.Struct, frozen=True):
    """`write_key` is what the source gets if it is new; only its hash outlives the answer. `changes` holds the fields of
    Settings that differ from what a new source has."""

    request_id: str
    source: str
    write_key: str
    changes: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<RegisterSource {self.source}>"


class ChangeSettings(msgspec.Struct, frozen=True):
    """`changes` holds the fields of Settings that change."""

    request_id: str
    source: str
    changes: dict[str, Any]


class AddKey(msgspec.Struct, frozen=True):
    request_id: str
    source: str
    key_name: str
    write_key: str

    def __repr__(self) -> str:
        return f"<AddKey {self.source} {self.key_name}>"


class RevokeKey(msgspec.Struct, frozen=True):
    request_id: str
    source: str
    key_name: str


Command = RegisterSource | ChangeSettings | AddKey | RevokeKey


def check(command: Command) -> None:
    """Raises InvalidInput (NAME_INVALID, REQUEST_ID_MISSING, REQUEST_ID_INVALID, KEY_NAME_INVALID)."""
    if not NAME.fullmatch(command.source):
        raise InvalidInput("a source's name is 1 to 64 lower-case letters, digits and hyphens", reason="NAME_INVALID")
    check_request_id(command.request_id)
    if isinstance(command, AddKey | RevokeKey) and not NAME.fullmatch(command.key_name):
        raise InvalidInput("a key's name is 1 to 64 lower-case letters, digits and hyphens", reason="KEY_NAME_INVALID")


def decide(source: Source | None, command: Command) -> Event | None:
    """None: this very request was answered before, or the key that it revokes was revoked already.

    Raises AlreadyExists (SOURCE_EXISTS, KEY_EXISTS), NotFound (SOURCE_UNKNOWN, KEY_UNKNOWN), Conflict (REQUEST_ID_REUSED),
    InvalidInput (SETTINGS_INVALID), WrongState (TOO_MANY_KEYS).
    """
    if source is not None and (earlier := source.requests.get(command.request_id)) is not None:
        _check_repeats(earlier, command)
        return None
    if isinstance(command, RegisterSource):
        return _register(source, command)
    if source is None:
        raise unknown_source(command.source)
    if isinstance(command, ChangeSettings):
        found = settings.changed(source.settings, command.changes)
        return SettingsChanged(request_id=command.request_id, source=source.name, **msgspec.structs.asdict(found))
    if isinstance(command, AddKey):
        return _add_key(source, command)
    return _revoke_key(source, command)


def _register(source: Source | None, command: RegisterSource) -> SourceRegistered:
    if source is not None:
        raise AlreadyExists("a source of this name exists", reason="SOURCE_EXISTS", name=command.source)
    return SourceRegistered(
        request_id=command.request_id,
        name=command.source,
        write_key_hash=write_key_hash(command.write_key),
        write_key_hint=command.write_key[:HINT_CHARACTERS],
        **msgspec.structs.asdict(settings.changed(Settings(), command.changes)),
    )


def _add_key(source: Source, command: AddKey) -> KeyAdded:
    """A revoked key's name is not given again: who reads the log or a table would take the one for the other."""
    if command.key_name in source.names:
        raise AlreadyExists("this source has or had a key of this name", reason="KEY_EXISTS", key_name=command.key_name)
    if len(source.keys) >= MAX_KEYS:
        raise WrongState("this source has as many keys as one may have; revoke some", reason="TOO_MANY_KEYS", limit=MAX_KEYS)
    return KeyAdded(
        request_id=command.request_id,
        source=source.name,
        key_name=command.key_name,
        write_key_hash=write_key_hash(command.write_key),
        write_key_hint=command.write_key[:HINT_CHARACTERS],
    )


def _revoke_key(source: Source, command: RevokeKey) -> KeyRevoked | None:
    if command.key_name in source.names - source.keys.keys():
        return None
    if (key_hash := source.keys.get(command.key_name)) is None:
        raise NotFound("this source has no key of this name", reason="KEY_UNKNOWN", key_name=command.key_name)
    return KeyRevoked(request_id=command.request_id, source=source.name, key_name=command.key_name, write_key_hash=key_hash)


def _check_repeats(earlier: Event, command: Command) -> None:
    match earlier, command:
        case SourceRegistered(), RegisterSource():
            same = settings.changed(Settings(), command.changes) == settings.of_event(earlier)
        case SettingsChanged(), ChangeSettings():
            same = settings.changed(settings.of_event(earlier), command.changes) == settings.of_event(earlier)
        case KeyAdded(key_name=name), AddKey(key_name=wanted):
            same = name == wanted
        case KeyRevoked(key_name=name), RevokeKey(key_name=wanted):
            same = name == wanted
        case _:
            same = False
    if not same:
        raise reused()


def unknown_source(name: str) -> NotFound:
    return NotFound("there is no source of this name", reason="SOURCE_UNKNOWN", name=name)


def evolve(source: Source | None, event: Event) -> Source:
    if isinstance(event, SourceRegistered):
        keys = {event.key_name: event.write_key_hash}
        return Source(event.name, settings.of_event(event), keys=keys, names=frozenset(keys), requests={event.request_id: event})
    assert source is not None, "a source begins by its registration"
    source = msgspec.structs.replace(source, requests=source.requests | {event.request_id: event})
    if isinstance(event, SettingsChanged):
        return msgspec.structs.replace(source, settings=settings.of_event(event))
    if isinstance(event, KeyAdded):
        keys = source.keys | {event.key_name: event.write_key_hash}
        return msgspec.structs.replace(source, keys=keys, names=source.names | {event.key_name})
    if isinstance(event, KeyRevoked):
        keys = {name: key for name, key in source.keys.items() if name != event.key_name}
        return msgspec.structs.replace(source, keys=keys)
    return source


def fold(events: Iterable[Event]) -> Source | None:
    state = None
    for event in events:
        state = evolve(state, event)
    return state


def stream_of(name: str) -> bytes:
    return derived_id(b"source", name.encode())


def new_write_key(random: Callable[[int], bytes]) -> str:
    """Recognisable in logs and scanners, and never taken for an option on a command line."""
    return KEY_PREFIX + base64.urlsafe_b64encode(random(KEY_BYTES)).rstrip(b"=").decode()


def write_key_hash(write_key: str) -> bytes:
    """A plain hash is enough for what is random."""
    return hashlib.sha256(write_key.encode()).digest()
