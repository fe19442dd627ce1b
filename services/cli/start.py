"""Where `c360` begins. It imports nothing of the command yet, so that Ctrl-C ends it without a word while that is loaded."""

import os
import signal
from types import FrameType

INTERRUPTED = 130  # as a shell tells of a program that Ctrl-C ended


def main() -> None:
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where whoever started it wants no Ctrl-C
    if listens:
        signal.signal(signal.SIGINT, _end)
    from services.cli.__main__ import app

    try:
        if listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        app(prog_name="c360")
    except KeyboardInterrupt:
        _end()
    finally:
        if listens:
            signal.signal(signal.SIGINT, _end)


def _end(signum: int = 0, frame: FrameType | None = None) -> None:
    """At once: an exception would have to pass through whatever is half imported or half taken down."""
    os._exit(INTERRUPTED)
