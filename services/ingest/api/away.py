"""What a door couldn't take for no fault of its sender. By its status it isn't told from a limit of the sender's, which is 429 as well."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from shared.bus import BROKER_DOWN
from shared.errors import Unavailable
from shared.store.pool import DOWN as STORE_DOWN
from shared.telemetry import DOOR_UNAVAILABLE

DEPENDENCY_DOWN: Final = "DEPENDENCY_DOWN"


@contextmanager
def counted(door: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, Unavailable):
            DOOR_UNAVAILABLE.labels(door, error.reason).inc()
        elif isinstance(error, (*STORE_DOWN, *BROKER_DOWN)):
            DOOR_UNAVAILABLE.labels(door, DEPENDENCY_DOWN).inc()
        raise
