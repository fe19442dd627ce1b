"""Who calls, as the records of what was read name them."""

import re
from typing import Any, Final

CALLER_KEY: Final = "x-c360-caller"  # in the metadata of a call: nothing proves it
REQUEST_ID_KEY: Final = "x-request-id"
UNAUTHENTICATED: Final = "unauthenticated"
# No address fits into it: it stands in records that are kept for ever.
SANE: Final = re.compile(r"[A-Za-z0-9._:/+=\-]{1,64}")


def caller_of(context: Any) -> str:
    """The name that the caller gives itself, if it is one that may be written down; else that nobody knows."""
    return _given(context, CALLER_KEY) or UNAUTHENTICATED


def request_id_of(context: Any) -> str:
    """What the caller calls this call; empty where it doesn't say, or nothing that may be written down."""
    return _given(context, REQUEST_ID_KEY)


def _given(context: Any, wanted: str) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == wanted:
            return value if isinstance(value, str) and SANE.fullmatch(value) else ""
    return ""
