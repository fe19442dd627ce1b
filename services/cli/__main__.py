"""The command's wiring, and the one place where a failed command becomes text and an exit code."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from services.cli import render
from services.cli.commands import Commands
from services.cli.errors import CommandError


class Root(TyperGroup):
    def __init__(self, **told: Any) -> None:
        super().__init__(**told)
        self.commands = Commands()

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as failure:
            render.note(str(failure))
            raise typer.Exit(failure.exit_code) from failure


app = typer.Typer(name="c360", cls=Root, no_args_is_help=True, pretty_exceptions_enable=False)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"customer360 {version('customer360')}")
        raise typer.Exit


@app.callback()
def about(
    _: Annotated[bool, typer.Option("--version", help="Print the version and end.", callback=_tell_version, is_eager=True)] = False,
) -> None:
    """Ask who a customer is, what may be used, and what was known when.

    A person is a customer id or namespace:value (email:ann@example.com, user_id:u1).
    An instant is ISO 8601 (UTC without an offset), now, or an age such as -2h.
    A position is log/partition/number, as a write prints it (ingest/0/42).

    Exit codes:
      0  done
      1  the service refused: REASON: message on stderr
      2  the command was wrong
      3  not reachable or out of time; the same command may succeed later
      4  queued: a legal hold forbids the erasure for now, nothing is erased
      130  interrupted by Ctrl-C

    With --json: one document, or one line per item where items stream
    (profile timeline, history, watch and rules list, identity history, proposals and decisions, segments,
    parked list and discard, audit who-read, uses,
    exposures and simulate).

    Where the services are, first found counts:
      C360_INGEST_ADDRESS, C360_IDENTITY_ADDRESS, C360_PROFILE_ADDRESS,
      C360_CONSENT_ADDRESS, C360_INGEST_URL (its HTTP door);
      endpoints.json in C360_DATA_DIR (.data);
      127.0.0.1:50051 to 50054 where there is no such directory.
    """


def main() -> None:
    app(prog_name="c360")


if __name__ == "__main__":
    main()
