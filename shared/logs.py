"""Logs: one JSON object a line on standard error, whoever writes it: we, a library, or Python about what nobody caught.

Every line has `event`, `level`, `timestamp`, `service` and `pid`; of a request its `request_id`, and of a traced one its `trace_id`.
"""

import logging
import os
import sys
import threading
from typing import Any

import structlog

from shared.config import LogLevel

log = structlog.get_logger(component="python")


_least = logging.INFO


def start_logging(service: str, level: LogLevel) -> None:
    set_level(level)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core would write lines of its own; it reads this when it is loaded

    def whose(_logger: Any, _method: str, entry: Any) -> Any:
        """A thread of a library's knows no context."""
        return entry | {"service": service, "pid": os.getpid()}

    steps: list[Any] = [
        structlog.contextvars.merge_contextvars,
        whose,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[_drop_below, *steps, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _form_those_of_libraries(steps)
    _form_what_nobody_caught()


def set_level(level: LogLevel) -> None:
    """From now on, of every logger: they are made once, and may be told another level while the service runs."""
    global _least  # noqa: PLW0603
    _least = logging.getLevelNamesMapping()[level.upper()]


def _drop_below(_logger: Any, method: str, entry: Any) -> Any:
    if structlog.processors.NAME_TO_LEVEL[method] < _least:
        raise structlog.DropEvent
    return entry


def _form_those_of_libraries(steps: list[Any]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=structlog.processors.JSONRenderer(), foreign_pre_chain=[structlog.stdlib.add_logger_name, *steps]
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _form_what_nobody_caught() -> None:
    def in_thread(told: threading.ExceptHookArgs) -> None:
        log.error("a thread ended", exc_info=told.exc_value)

    def unraisable(told: Any) -> None:
        log.error("an exception that nobody could be told", exc_info=told.exc_value)

    def at_the_end(_kind: type[BaseException], error: BaseException, _trace: Any) -> None:
        log.critical("the process ends", exc_info=error)

    threading.excepthook = in_thread
    sys.unraisablehook = unraisable
    sys.excepthook = at_the_end
