"""`c360 consent callers token` and `rotate`: tokens by which callers prove who they are, and the key that signs them. They need the folder
of secrets, not a service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import render
from services.cli.errors import Misused
from services.cli.options import AsJson

if TYPE_CHECKING:
    from shared.local_tokens import LocalIssuer

DAY_S = 24 * 3600
MOST_DAYS = 366


def token(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The subject that the caller is defined with, its issuer customer360.")
    ],
    days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="For how many days it holds.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Make a token for a caller and show it. It holds while a caller is defined for it. Run it where `make run` keeps its data.

    Example:
      c360 consent callers token mailer --days 30
    """
    from shared.instants import now_us

    made = _issuer(_folder()).token(name, days * DAY_S, now_us())
    render.document({"name": name, "token": made}) if as_json else render.facts([("name", name), ("token", made)])


def rotate(
    at_once: Annotated[
        bool, typer.Option("--at-once", help="What the old key signed counts no more: when it leaked. Callers need new tokens.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let another key sign tokens. What the old one signed counts until it ends, and its private half is gone. Run it where `make run` keeps its data.

    With --at-once services refuse the old tokens within two minutes, and the operator's is made anew.

    Examples:
      c360 consent callers rotate
      c360 consent callers rotate --at-once
    """
    from shared import private_files
    from shared.events.callers import OPERATOR
    from shared.instants import now_us
    from shared.local_tokens import AHEAD_S, LONGEST_S

    folder = _folder()
    issuer, now = _issuer(folder), now_us()
    issuer.rotate(now, at_once)
    if at_once:
        private_files.write_text(folder / "operator-token", issuer.token(OPERATOR, LONGEST_S, now) + "\n")
    if as_json:
        render.document({"signs_in_s": 0 if at_once else AHEAD_S, "earlier_tokens": "refused" if at_once else "until they end"})
    else:
        render.note("tokens signed before are refused within two minutes" if at_once else f"the new key signs in {AHEAD_S} seconds")


def add_to(app: typer.Typer) -> None:
    app.command()(token)
    app.command()(rotate)


def _folder() -> Path:
    return Path(os.environ.get("C360_DATA_DIR") or ".data") / "secrets"


def _issuer(folder: Path) -> LocalIssuer:
    """Raises Misused (KEY_MISSING)."""
    from shared.local_tokens import LocalIssuer

    issuer = LocalIssuer(folder)
    if not issuer.exists:
        raise Misused("KEY_MISSING", f"no key in {folder}: `make run` makes one, unless it is started with C360_AUTH=none")
    return issuer
