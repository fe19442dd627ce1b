"""Who calls, as the records of what was read name them."""

import re
from contextvars import ContextVar
from typing import Any, Final, Protocol

from shared.errors import NotFound

CALLER_KEY: Final = "x-c360-caller"  # in the metadata of a call: nothing proves it
REQUEST_ID_KEY: Final = "x-request-id"
UNAUTHENTICATED: Final = "unauthenticated"
# Reasons of an answer that somebody who tries out identifiers gets.
TOLD_OF_NOBODY: Final = frozenset({"CUSTOMER_UNKNOWN", "IDENTIFIER_UNKNOWN"})
# No address fits into it: it stands in records that are kept for ever.
SANE: Final = re.compile(r"[A-Za-z0-9._:/+=\-]{1,64}")


class Entry(Protocol):
    @property
    def name(self) -> str: ...
    def missed(self, amount: int) -> None: ...


ENTERED: ContextVar[Entry | None] = ContextVar("entered", default=None)  # of the call that is answered here


def count_miss(told: Exception) -> None:
    """If the caller is told that nobody is known by what it asked for."""
    if isinstance(told, NotFound) and told.reason in TOLD_OF_NOBODY and (entered := ENTERED.get()) is not None:
        entered.missed(1)


def caller_of(context: Any) -> str:
    """The caller that was let in. Where everybody is: the name that it gives itself, if it is one that may be written down; else that
    nobody knows."""
    return named_by(context)[0]


def named_by(context: Any) -> tuple[str, str]:
    """The caller, and what it calls this call: empty where it doesn't say, or nothing that may be written down."""
    given = {CALLER_KEY: "", REQUEST_ID_KEY: ""}
    for key, value in context.invocation_metadata() or ():  # made anew each time it is asked for
        if given.get(key) == "" and isinstance(value, str) and SANE.fullmatch(value):
            given[key] = value
    entered = ENTERED.get()
    return (given[CALLER_KEY] or UNAUTHENTICATED) if entered is None else entered.name, given[REQUEST_ID_KEY]
