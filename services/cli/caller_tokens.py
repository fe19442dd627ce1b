"""`c360 consent callers token`: a token by which a caller proves who it is. Needs the folder of secrets, not a service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from services.cli import render
from services.cli.errors import Misused
from services.cli.options import AsJson

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
    from shared.local_tokens import LocalIssuer

    folder = Path(os.environ.get("C360_DATA_DIR") or ".data") / "secrets"
    issuer = LocalIssuer(folder)
    if not issuer.exists:
        raise Misused("KEY_MISSING", f"no key in {folder}: `make run` makes one, unless it is started with C360_AUTH=none")
    made = issuer.token(name, days * DAY_S, now_us())
    render.document({"name": name, "token": made}) if as_json else render.facts([("name", name), ("token", made)])
