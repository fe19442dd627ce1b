"""`python -m services.stack`: what `make run` starts. Stays in the foreground; Ctrl-C stops everything in order."""

import argparse
import os
import shlex
import signal
import sys
import threading
from pathlib import Path

from services.stack.console import Console
from services.stack.errors import DataDirectoryInUseError, MisconfiguredError, StackError
from services.stack.ports import SERVICES
from services.stack.settings import read_choices
from services.stack.stack import Stack

STAY = "Ctrl-C stops everything"
EXIT_FAILED = 1
EXIT_MISUSED = 2
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """A stop signal arrived; like KeyboardInterrupt, nothing may swallow it on the way."""


def main() -> int:
    arguments = _parse(sys.argv[1:])
    console = Console(sys.stdout)
    services = () if arguments.servers_only else SERVICES
    try:
        auth = read_choices().auth
    except MisconfiguredError as error:
        console.line(f"error: {error}")
        return EXIT_MISUSED
    stack = Stack(arguments.data_dir, default_ports=not arguments.free_ports, services=services, console=console, auth=auth)
    _listen_for_stop_signals()
    console.line(f"customer360 in {stack.data_directory}")
    try:
        with stack:
            _serve(stack)
    except StopRequested:
        console.line("stopped; the next start continues with the data")
    except StackError as error:
        console.line(f"error: {error}")
        return EXIT_MISUSED if isinstance(error, DataDirectoryInUseError | MisconfiguredError) else EXIT_FAILED
    return 0


def _serve(stack: Stack) -> None:
    try:
        stack.console.line(_welcome(stack) if stack.services else f"\nservers only; {STAY}")
        threading.Event().wait()
    except StopRequested:
        stack.console.line("stopping; what was accepted is kept")
        raise


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.stack", description=__doc__)
    default = os.environ.get("C360_DATA_DIR") or ".data"
    parser.add_argument("--data-dir", type=Path, default=default, help="C360_DATA_DIR, else .data")
    parser.add_argument("--free-ports", action="store_true", help="do not try the default ports first")
    parser.add_argument("--servers-only", action="store_true", help="NATS and PostgreSQL without the services, for a restore")
    return parser.parse_args(arguments)


def _listen_for_stop_signals() -> None:
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup: stay when the terminal goes
            signal.signal(number, _request_stop)


def _request_stop(number: int, frame: object) -> None:
    # From here on the stop is under way: a second Ctrl-C must not leave it half done.
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise StopRequested


def _welcome(stack: Stack) -> str:
    endpoints = stack.endpoints
    key = stack.write_key()
    event = '{"userId":"ada","traits":{"first_name":"Ada","email":"ada@example.com"}}'
    identify = f"curl -s -u {key}: -H 'content-type: application/json' -d '{event}' {endpoints.ingest_http}/v1/identify"
    command = _command_line(stack.data_directory)
    return "\n".join(
        (
            "",
            f"  HTTP (Segment protocol)  {endpoints.ingest_http}",
            f"  HTTP (Profile API)       {endpoints.profile_http}",
            f"  HTTP (unsubscribing)     {endpoints.consent_http}",
            *(f"  gRPC {name:<19} {getattr(endpoints, name)}" for name in stack.services),
            *(f"  metrics {name:<16} {url}" for name, url in endpoints.metrics.items()),
            f"  write key                {key}",
            f"  logs                     {stack.data_directory / 'logs'}",
            "",
            "try, in another terminal:",
            f"  {identify}",
            f"  {command} profile get user_id:ada --purpose service",
            f"  {command} profile timeline user_id:ada --purpose audit",
            "",
            f"running; {STAY}",
        )
    )


def _command_line(data_directory: Path) -> str:
    """How to call c360 from here: it finds `.data` in the working directory by itself."""
    beside_python = Path(sys.executable).parent / "c360"
    command = os.path.relpath(beside_python) if beside_python.is_relative_to(Path.cwd()) else str(beside_python)
    is_default = data_directory == Path.cwd() / ".data"
    return command if is_default else f"C360_DATA_DIR={shlex.quote(str(data_directory))} {command}"


if __name__ == "__main__":
    sys.exit(main())
