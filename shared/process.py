"""Runs a service: event loop, logs, metrics, signals, background work."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from shared import telemetry
from shared.bus.connection import BROKER_DOWN
from shared.config import ConfigError, Settings, read_settings
from shared.store.pool import DOWN as STORE_DOWN

RETRY_S = 0.5
S = TypeVar("S", bound=Settings)

log = telemetry.logger("process")


def run_service(name: str, settings_kind: type[S], serve: Callable[[S, asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    """Runs `serve` until SIGTERM or SIGINT sets the event it is given. Returns the exit code."""
    try:
        settings = read_settings(settings_kind, os.environ)
    except ConfigError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    telemetry.start_logging(name, settings.log_level)
    telemetry.start_metrics(settings.metrics_address)
    try:
        uvloop.run(_until_stopped(name, settings, serve))
    except Exception as error:
        log.critical("the service can't go on", exc_info=error)
        return 1
    return 0


async def _until_stopped(name: str, settings: S, serve: Callable[[S, asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """A signal during start-up ends it at once; later it asks for a graceful stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("starting")
    await serve(settings, stop)
    log.info("stopped")


async def until_stopped(stop: asyncio.Event, *background: Coroutine[Any, Any, None]) -> None:
    """Runs the background work until `stop` is set; raises what any of it raises, since a service missing a part isn't one."""
    tasks = [asyncio.create_task(work) for work in background]
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)


async def keep_going(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Runs `work` for ever, anew whenever a server it needs was down. `work` begins from what is committed."""
    while True:
        try:
            await work()
        except (*STORE_DOWN, *BROKER_DOWN) as error:
            log.warning("starting over when the servers are back", work=name, error=type(error).__name__)
            await asyncio.sleep(RETRY_S)
