"""Lists that are read page by page, the same in every service."""

import base64
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, Protocol, TypeVar

import msgspec

from shared.errors import InvalidInput

PAGE_DEFAULT = 50
PAGE_MAX = 500

P = TypeVar("P")
Row = TypeVar("Row")

Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # what a bigint takes; a token may say anything
BY_NUMBER = msgspec.msgpack.Decoder(tuple[Number, bytes])  # ordered by a number and, among equal ones, by an id
BEFORE_ALL = (-1, b"")

encode = msgspec.msgpack.Encoder().encode


class Asked(Protocol):
    """A request for a page."""

    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


class Page(Generic[P]):
    """The page that is asked for: what comes `after` a place, of which None is before the first.

    `wanted` is one row more than it has: whether that one is there says whether there is another page.
    """

    def __init__(self, asked: Asked, places: msgspec.msgpack.Decoder[P]) -> None:
        """Raises InvalidInput (PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID)."""
        if asked.page_size < 0:
            raise InvalidInput("a page size is not negative; 0 asks for the default", reason="PAGE_SIZE_INVALID")
        self.after = _parse(asked.page_token, places) if asked.page_token else None
        self._size = min(asked.page_size or PAGE_DEFAULT, PAGE_MAX)
        self.wanted = self._size + 1

    @property
    def size(self) -> int:
        """For lists that know by themselves whether they go on."""
        return self._size

    def cut(self, rows: Sequence[Row], place_of: Callable[[Row], P]) -> tuple[Sequence[Row], str]:
        """The rows of the page, and the token of the next one; empty when this is the last."""
        shown = rows[: self._size]
        return shown, token_of(place_of(shown[-1])) if len(rows) > len(shown) else ""


def token_of(place: object) -> str:
    return base64.urlsafe_b64encode(encode(place)).decode()


def _parse(token: str, places: msgspec.msgpack.Decoder[P]) -> P:
    try:
        return places.decode(base64.urlsafe_b64decode(token))
    except (ValueError, msgspec.DecodeError):
        raise InvalidInput("not a page token of ours", reason="PAGE_TOKEN_INVALID") from None
