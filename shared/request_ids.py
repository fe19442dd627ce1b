"""The id that a caller gives a write, so that one that is repeated has no second effect. The same in every service."""

from typing import Final

from shared.errors import Conflict, InvalidInput

MAX_REQUEST_ID: Final = 100  # characters


def check_request_id(request_id: str) -> None:
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID)."""
    if not request_id:
        raise InvalidInput("a write needs a request_id", reason="REQUEST_ID_MISSING")
    if len(request_id) > MAX_REQUEST_ID or not request_id.isprintable():
        raise InvalidInput(f"a request_id is at most {MAX_REQUEST_ID} printable characters", reason="REQUEST_ID_INVALID")


def reused() -> Conflict:
    return Conflict("this request_id stands for something else", reason="REQUEST_ID_REUSED")
