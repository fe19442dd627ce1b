"""Lists that are read page by page, the same in every service.

A page token is good for the list and the query that it came from: a place in one list is another place, or none, in another, and
whoever mixed them up would take what is left out for the end. It is no secret and no permission: what may be seen, each request says anew.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar

import msgspec

from shared.errors import InvalidInput

PAGE_DEFAULT = 50
PAGE_MAX = 500

P = TypeVar("P")
Row = TypeVar("Row")

Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # what a bigint takes; a token may say anything
BY_NUMBER = msgspec.msgpack.Decoder(tuple[Number, bytes])  # ordered by a number and, among equal ones, by an id
BEFORE_ALL = (-1, b"")
MARK_BYTES: Final = 8  # of a list and query, at the beginning of a token
SAYS_WHICH_PAGE: Final = (
    "page_size",
    "page_token",
    "resume_place",
    "resume_after",
    "at_least_as_fresh",
)  # of a request; all else says of what

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

    def __init__(self, asked: Asked, places: msgspec.msgpack.Decoder[P], query: bytes | None = None) -> None:
        """`query`: of what is asked, where `asked` is no message that says it.

        Raises InvalidInput (PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID).
        """
        if asked.page_size < 0:
            raise InvalidInput("a page size is not negative; 0 asks for the default", reason="PAGE_SIZE_INVALID")
        self._asked, self._query = asked, query
        self.after = self._parse(asked.page_token, places) if asked.page_token else None
        self._size = min(asked.page_size or PAGE_DEFAULT, PAGE_MAX)
        self.wanted = self._size + 1

    @property
    def size(self) -> int:
        """For lists that know by themselves whether they go on."""
        return self._size

    def cut(self, rows: Sequence[Row], place_of: Callable[[Row], P]) -> tuple[Sequence[Row], str]:
        """The rows of the page, and the token of the next one; empty when this is the last."""
        shown = rows[: self._size]
        return shown, self.token_of(place_of(shown[-1])) if len(rows) > len(shown) else ""

    def token_of(self, place: P | None) -> str:
        """Of the page behind a place; empty when there is none."""
        return "" if place is None else base64.urlsafe_b64encode(self._mark + encode(place)).decode()

    @cached_property
    def _mark(self) -> bytes:
        query = query_of(self._asked) if self._query is None else self._query
        return hashlib.blake2b(query, digest_size=MARK_BYTES).digest()

    def _parse(self, token: str, places: msgspec.msgpack.Decoder[P]) -> P:
        try:
            raw = base64.urlsafe_b64decode(token)
            if raw[:MARK_BYTES] != self._mark:
                raise of_another_query()
            return places.decode(raw[MARK_BYTES:])
        except (ValueError, msgspec.DecodeError):
            raise InvalidInput("not a page token of ours", reason="PAGE_TOKEN_INVALID") from None


def query_of(request: Any) -> bytes:
    """Of a request that is a message: of which list, and what of it."""
    bare = type(request)()
    bare.CopyFrom(request)
    for field in SAYS_WHICH_PAGE:
        if field in bare.DESCRIPTOR.fields_by_name:
            bare.ClearField(field)
    said: bytes = bare.SerializeToString(deterministic=True)
    return f"{bare.DESCRIPTOR.full_name} ".encode() + said


def of_another_query() -> InvalidInput:
    return InvalidInput(
        "this page token is of another list or query: give it back with the request that it came from",
        reason="PAGE_TOKEN_INVALID",
    )
