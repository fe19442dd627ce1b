"""Runs a service: event loop, logs, metrics, signals, background work."""

import asyncio
import gc
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import version
from typing import Any, TypeVar

import uvloop

from shared import faults, telemetry, tracing
from shared.bus.connection import BROKER_DOWN
from shared.config import ConfigError, Settings, differing, read_settings
from shared.exposure import exposed
from shared.logs import set_level, start_logging
from shared.poison import Halted
from shared.renewal import renew
from shared.store.pool import DOWN as STORE_DOWN
from shared.waiting import end

RETRY_S = 0.5
TOLD_CHARACTERS = 200
# Reference cycles are rare in what we make by the thousand, and a collection looks at everything made since the last one: at
# the defaults it took half of the time in which a batch is placed.
COLLECT_AFTER = (50_000, 20, 50)
S = TypeVar("S", bound=Settings)

log = telemetry.logger("process")


def run_service(name: str, settings_kind: type[S], serve: Callable[[S, "Stop"], Coroutine[Any, Any, None]]) -> int:
    """Runs `serve` until SIGTERM or SIGINT sets the event it is given. Returns the exit code."""
    try:
        settings = read_settings(settings_kind, os.environ)
        opened = exposed(settings)
        faults.arm(os.environ)
        end_tracing = start_tracing(name, settings)
    except (ConfigError, faults.UnknownPoint) as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    start_logging(name, settings.log_level)
    for word in opened:
        log.warning("open beyond this machine, as C360_INSECURE says", what=word)
    telemetry.start_metrics(settings.metrics_address)
    calm_collector()
    try:
        uvloop.run(_until_stopped(name, settings, serve))
    except Exception as error:
        log.critical("the service can't go on", exc_info=error)
        return 1
    finally:
        end_tracing()
    return 0


def start_tracing(name: str, settings: Settings) -> Callable[[], None]:
    """Until what is returned is called. Raises ConfigError."""
    if not settings.otlp_endpoint:
        return lambda: None
    try:
        from shared.tracing.spans import to_collector
    except ImportError as error:
        raise ConfigError("C360_OTLP_ENDPOINT needs pip install 'customer360[otel]'") from error
    spans = to_collector(settings.otlp_endpoint, name, settings.trace_ratio, random.random, time.monotonic)
    tracing.carry_on(spans)
    return spans.close


def calm_collector() -> None:
    gc.freeze()  # what is imported stays
    gc.set_threshold(*COLLECT_AFTER)


class Stop(asyncio.Event):
    """Set by SIGTERM or SIGINT. Until `until_stopped` watches it, a signal ends the start-up at once."""

    watched = False


async def _until_stopped(name: str, settings: S, serve: Callable[[S, Stop], Coroutine[Any, Any, None]]) -> None:
    stop = Stop()
    serving = asyncio.create_task(serve(settings, stop))
    endings: list[asyncio.Task[None]] = []

    def on_signal() -> None:
        stop.set()
        if not stop.watched:
            endings.append(asyncio.create_task(end([serving])))

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, read_again, settings)
    log.info("starting", version=version("customer360"))
    try:
        await serving
    except asyncio.CancelledError:
        log.info("stopped while starting")
    else:
        log.info("stopped")


def read_again(settings: Settings) -> None:
    """On SIGHUP. The level of the log changes, and the certificate that doors show; of all else that differs from what the service was
    started with it is told that a restart is needed. Variables of a process don't change, the files that they name do (C360_LOG_LEVEL_FILE)."""
    try:
        now = read_settings(type(settings), os.environ)
        renewed = renew(settings, now)
    except ConfigError as error:
        log.error("settings can't be read again; nothing is changed", because=str(error))
        return
    set_level(now.log_level)
    differ = differing(settings, now, without=("log_level", *renewed))
    log.warning("settings were read again", log_level=now.log_level, restart_for=differ)


async def until_stopped(stop: Stop, drain: Callable[[], Awaitable[None]], *background: Coroutine[Any, Any, None]) -> None:
    """Runs the background work until `stop` is set, then `drain` while the work still goes on, then ends the work.

    Raises what any of the work raises: a service that misses a part isn't one. Work that is done may end.
    """
    stop.watched = True
    draining = asyncio.create_task(_drain(stop, drain))
    tasks = {draining, *(asyncio.create_task(work) for work in background)}
    going = tasks
    try:
        while not draining.done():
            done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        await end(tasks)


async def _drain(stop: Stop, drain: Callable[[], Awaitable[None]]) -> None:
    await stop.wait()
    await drain()


async def keep_going(name: str, work: Callable[[], Awaitable[None]], on_halt: Callable[[], Awaitable[None]] | None = None) -> None:
    """Runs `work` until it is done, anew whenever a server it needs was down. It begins from what is committed.

    When the work halts and `on_halt` is given, that is called and the rest of the service goes on without this work until
    a restart: callers are told by the health, people by the log and the metric.
    """
    while True:
        try:
            return await work()
        except (*STORE_DOWN, *BROKER_DOWN) as error:
            told = str(error)[:TOLD_CHARACTERS]  # of a server or of the way to it: what it says then holds nothing of a customer
            log.warning("starting over when the servers are back", work=name, error=type(error).__name__, because=told)
            await asyncio.sleep(RETRY_S)
        except Halted as halted:
            if on_halt is None:
                raise
            log.critical("stopped until people look at it and restart", work=name, reason=halted.reason, because=str(halted))
            telemetry.CONSUMER_HALTED.labels(name).set(1)
            await on_halt()
            await asyncio.Event().wait()
