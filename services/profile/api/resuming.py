"""Where a watch goes on: behind all that was taken of it, also amid its first look, which may be of more than a slow reader takes at once."""

from typing import Final

import msgspec
from c360.profile.v1 import watch_pb2 as pb

from services.profile.following import Places
from shared.rpc.edge import freshness
from shared.rpc.paging import Number, Page, query_of

PLACES: Final = msgspec.msgpack.Decoder(dict[str, Number])


class _Asked(msgspec.Struct, frozen=True):
    page_token: str
    page_size: int = 0


class Resuming:
    """A place is a page token: of one watch alone, and no secret."""

    def __init__(self, request: pb.WatchProfilesRequest) -> None:
        """Raises InvalidInput (PAGE_TOKEN_INVALID, POSITION_INVALID, TOO_MANY_POSITIONS)."""
        self._page = Page(_Asked(request.resume_place), PLACES, query_of(request))
        self.after: Places | None = self._page.after or dict(freshness(request.resume_after)) or None

    def token_of(self, places: Places) -> str:
        """Empty when nothing was taken."""
        return self._page.token_of(places or None)
