"""Sources: who may send events. A source is registered once; its name is its stream."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from shared.errors import AlreadyExists, InvalidInput
from shared.events.source import SourceRegistered
from shared.ids import derived_id

PARTITION: Final = 0
KEY_PREFIX: Final = "wk_"
KEY_BYTES: Final = 32
HINT_CHARACTERS: Final = 9
MAX_REQUEST_ID: Final = 100  # characters
NAME = re.compile(r"[a-z0-9\-]{1,64}")


class Source(msgspec.Struct, frozen=True):
    name: str
    request_id: str
    write_key_hint: str


class RegisterSource(msgspec.Struct, frozen=True):
    """`write_key` is what the source gets if it is new; only its hash outlives the answer."""

    request_id: str
    name: str
    write_key: str

    def __repr__(self) -> str:
        return f"<RegisterSource {self.name}>"


def check(command: RegisterSource) -> None:
    """Raises InvalidInput (NAME_INVALID, REQUEST_ID_INVALID)."""
    if not NAME.fullmatch(command.name):
        raise InvalidInput("a source's name is 1 to 64 lower-case letters, digits and hyphens", reason="NAME_INVALID")
    if not 1 <= len(command.request_id) <= MAX_REQUEST_ID or not command.request_id.isprintable():
        raise InvalidInput("a request id has 1 to 100 printable characters", reason="REQUEST_ID_INVALID")


def decide(state: Source | None, command: RegisterSource) -> SourceRegistered | None:
    """None: this very request was answered before. Raises AlreadyExists (SOURCE_EXISTS)."""
    if state is None:
        return SourceRegistered(
            request_id=command.request_id,
            name=command.name,
            write_key_hash=hash_of(command.write_key),
            write_key_hint=command.write_key[:HINT_CHARACTERS],
        )
    if state.request_id == command.request_id:
        return None
    raise AlreadyExists("a source of this name exists", reason="SOURCE_EXISTS", name=command.name)


def evolve(state: Source | None, event: SourceRegistered) -> Source:
    return Source(event.name, event.request_id, event.write_key_hint)


def fold(events: Iterable[SourceRegistered]) -> Source | None:
    state = None
    for event in events:
        state = evolve(state, event)
    return state


def stream_of(name: str) -> bytes:
    return derived_id(b"source", name.encode())


def new_write_key(random: Callable[[int], bytes]) -> str:
    """Recognisable in logs and scanners, and never taken for an option on a command line."""
    return KEY_PREFIX + base64.urlsafe_b64encode(random(KEY_BYTES)).rstrip(b"=").decode()


def hash_of(write_key: str) -> bytes:
    """A plain hash is enough for what is random."""
    return hashlib.sha256(write_key.encode()).digest()
