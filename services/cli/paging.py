"""Reading a list page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from services.cli import render

PAGE: Final = 500  # the services' cap
MORE: Final = "there are more: raise --limit to see them"


def entries(call: Callable[..., Any], request: Any, field: str, limit: int, timeout_s: float, more: str = MORE) -> Iterator[Any]:
    """The first `limit` of what the pages have in `field`; says so where there are more. Moves on the request's page token."""
    while limit > 0:
        request.page_size = min(limit, PAGE)
        page = call(request, timeout=timeout_s)
        found = getattr(page, field)[:limit]
        yield from found
        limit -= len(found)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return
    render.note(more)
