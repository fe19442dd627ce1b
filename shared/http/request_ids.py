"""An id for each request: the caller's when it gave one that is safe to write down, else one of ours.

It stands in the answer's head, in the body of a refusal and in the log lines of the request, so that both ends can talk
about the same request without talking about what was in it.
"""

import re
from collections.abc import Callable
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = b"x-request-id"
# No address fits into it; whoever writes a name here does so against the documentation.
SANE: Final = re.compile(rb"[A-Za-z0-9._:/+=\-]{1,128}")


def current() -> str:
    """Of the request that this task serves; empty outside of one."""
    found: str = structlog.contextvars.get_contextvars().get("request_id", "")
    return found


class RequestIds:
    def __init__(self, app: ASGIApp, make: Callable[[], str]) -> None:
        self._app = app
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _given(scope) or self._make()
        structlog.contextvars.bind_contextvars(request_id=request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id.encode())]
            await send(message)

        await self._app(scope, receive, send_with_id)


def _given(scope: Scope) -> str:
    """Empty when there is none, or none that may be repeated."""
    given = next((value for name, value in scope["headers"] if name == HEADER), b"")
    return given.decode() if SANE.fullmatch(given) else ""
