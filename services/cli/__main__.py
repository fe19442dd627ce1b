"""The command's wiring, and the one place where a failed command becomes text and an exit code."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from services.cli import (
    access_tokens,
    audit,
    consent,
    customer,
    events,
    identity,
    identity_decisions,
    identity_matching,
    lifetime,
    parked,
    plans,
    profile,
    profile_rules,
    render,
    rights,
    segments,
    sources,
    vault,
)
from services.cli.errors import CommandError
from services.cli.exporting.command import export
from services.cli.identity_explain import history as identity_history
from services.cli.identity_explain import why
from services.cli.importing.command import import_file
from services.cli.lake import command as lake
from services.cli.profile_explain import explain
from services.cli.profile_history import diff, history
from services.cli.replay import replay
from services.cli.rights_report.command import report
from services.cli.segment_watch import watch as watch_segment
from services.cli.simulate_policy import simulate
from services.cli.status import status
from services.cli.training import train
from services.cli.who_read import exposures, re_derive, uses, who_read


class FailuresAsExitCodes(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as failure:
            render.note(str(failure))
            raise typer.Exit(failure.exit_code) from failure


app = typer.Typer(name="c360", cls=FailuresAsExitCodes, no_args_is_help=True, pretty_exceptions_enable=False)


def _tell_version(wanted: bool) -> None:
    if wanted:
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


app.command()(status)
app.command("import")(import_file)
app.command()(export)
app.command()(profile_rules.whatif)
profile.app.command()(replay)
profile.app.command()(diff)
profile.app.command()(history)
profile.app.command()(explain)
profile.app.add_typer(profile_rules.app, name="rules")
profile.app.add_typer(access_tokens.app, name="tokens")
profile.app.add_typer(lifetime.app, name="lifetime")
identity.app.command()(why)
identity.app.command()(identity_history)
identity.app.command()(train)
app.add_typer(profile.app, name="profile")
app.add_typer(consent.app, name="consent")
app.add_typer(events.app, name="events")
identity.app.add_typer(identity_decisions.app)
identity.app.add_typer(identity_matching.app, name="match")
app.add_typer(identity.app, name="identity")
app.add_typer(customer.app, name="customer")
rights.app.command()(report)
app.add_typer(rights.app, name="rights")
app.add_typer(parked.app, name="parked")
segments.app.command()(watch_segment)
app.add_typer(segments.app, name="segments")
app.add_typer(sources.app, name="sources")
app.add_typer(plans.app, name="plans")
audit.app.command()(who_read)
audit.app.command()(uses)
audit.app.command()(exposures)
audit.app.command("re-derive")(re_derive)
audit.app.command()(simulate)
app.add_typer(audit.app, name="audit")
app.add_typer(lake.app, name="lake")
app.add_typer(vault.app, name="vault")


def main() -> None:
    app(prog_name="c360")


if __name__ == "__main__":
    main()
