"""One customer of whom no answer can be made is no reason to stop for all others: that is told here, and they go on without her.

The reason is a defect of ours, or of a library, that something of hers brings out; as whoever asks for her alone hears.
"""

import traceback
from typing import Final, TypeVar

from shared.bus.connection import BROKER_DOWN
from shared.errors import CustomerError, ProfileFailed
from shared.ids import to_text
from shared.store.pool import STORE_ERRORS
from shared.telemetry import CUSTOMERS_FAILED, logger

FRAMES_TOLD: Final = 3

# Of a server, or refused for a reason that has a name: of no one customer, or told to whoever asked.
OF_OTHERS: Final = (*STORE_ERRORS, *BROKER_DOWN, CustomerError)

log = logger("profile")
T = TypeVar("T")


def note(customer: bytes, doing: str, error: Exception) -> None:
    """An alarm. Of the error its kind and place are told: its text may hold what is known of her."""
    CUSTOMERS_FAILED.labels(doing).inc()
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_TOLD:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    log.error(
        "no answer can be made about a customer", customer=to_text(customer), doing=doing, error=type(error).__name__, at=places
    )


def failed() -> ProfileFailed:
    return ProfileFailed("no answer can be made about this customer: a defect of this service, which its log tells of")


def made(found: T | None) -> T:
    """Raises ProfileFailed when nothing could be made, as is noted already."""
    if found is None:
        raise failed()
    return found
