"""What an address asks for: `/v1/spaces/{space}/collections/users/profiles/{id_type:value}/{part}`.

Read from the bytes as they came: whoever decodes the whole first can't tell a value's slash from the path's.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from shared.errors import InvalidInput, NotFound
from shared.identifiers import Identifier, normalise
from shared.ids import from_text

PARTS: Final = ("traits", "external_ids", "events", "metadata")
BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Target(msgspec.Struct, frozen=True):
    """`person` is a customer's id, or namespace:value; it is personal data, and so is `raw_path`."""

    space: str
    person: str
    part: str

    def __repr__(self) -> str:
        return f"<Target {self.part} sealed>"


def target_of(raw_path: bytes) -> Target:
    """Raises NotFound (PATH_UNKNOWN, COLLECTION_UNKNOWN), InvalidInput (PATH_INVALID)."""
    match [_decoded(piece) for piece in raw_path.removesuffix(b"/").split(b"/")]:
        case ["", "v1", "spaces", space, "collections", "users", "profiles", person, part] if part in PARTS:
            return Target(space, person, part)
        case ["", "v1", "spaces", _, "collections", collection, "profiles", *_] if collection != "users":
            raise NotFound("profiles are kept of users alone", reason="COLLECTION_UNKNOWN")
    raise NotFound("there is nothing at this path", reason="PATH_UNKNOWN")


def named(person: str) -> bytes | Identifier:
    """A customer's id, or an identifier, normalised. Raises InvalidInput (CUSTOMER_ID_INVALID, IDENTIFIER_INVALID)."""
    namespace, colon, value = person.partition(":")
    return normalise(namespace, value) if colon else from_text(person, "customer")


def _decoded(piece: bytes) -> str:
    try:
        if BROKEN_ESCAPE.search(piece):
            raise ValueError
        return unquote_to_bytes(piece).decode()
    except ValueError:
        raise InvalidInput("a path is UTF-8, percent-encoded", reason="PATH_INVALID") from None
