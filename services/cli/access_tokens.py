"""`c360 profile tokens`: who may read profiles over HTTP. Needs the file of tokens, not a service."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import render
from services.cli.errors import Misused, Refused
from services.cli.options import AsJson

if TYPE_CHECKING:
    from shared.access_tokens import TokenFile

app = typer.Typer(no_args_is_help=True, help="Who may read profiles over HTTP. Run it where the file of tokens is.")

TokenName = Annotated[str, typer.Argument(metavar="TOKEN", help="The token's name: lower-case letters, digits and hyphens.")]


@app.command()
def add(
    name: TokenName,
    *,
    purpose: Annotated[
        str,
        typer.Option(
            "--purpose", "-P", metavar="NAME", help="What its bearer may read for; `c360 consent purposes list` lists them."
        ),
    ],
    space: Annotated[
        str, typer.Option(help="The space in its bearer's addresses: lower-case letters, digits and hyphens.")
    ] = "main",
    reads_per_s: Annotated[int, typer.Option(min=0, max=1_000_000, help="Reads a second, in each process; 0: no limit.")] = 500,
    misses_per_min: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Reads a minute of users whom nobody knows; 0: no limit.")
    ] = 600,
    customers_per_hour: Annotated[int, typer.Option(min=0, max=250_000, help="Different users an hour; 0: no limit.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make an access token and show it, this once. It holds at once, for one space and one purpose.

    Example:
      c360 profile tokens add call-centre --purpose service
    """
    from shared.access_tokens import TokenLimits

    with _tokens() as tokens:
        token = tokens.add(name, space, purpose, os.urandom, TokenLimits(reads_per_s, misses_per_min, customers_per_hour))
    if as_json:
        render.document({"name": name, "space": space, "purpose": purpose, "token": token})
        return
    render.facts([("name", name), ("space", space), ("purpose", purpose), ("access token", token)])
    render.note("Keep the access token now: only its hash is stored.")


@app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List the access tokens, oldest first."""
    with _tokens() as tokens:
        listed = [
            {"name": token.name, "space": token.space, "purpose": token.purpose, "hint": token.hint} for token in tokens.all()
        ]
    if as_json:
        render.document(listed)
        return
    rows = [(token["name"], token["space"], token["purpose"], f"{token['hint']}…") for token in listed]
    render.table("Access tokens", ("name", "space", "purpose", "access token"), rows)


@app.command()
def revoke(name: TokenName, as_json: AsJson = False) -> None:
    """Make an access token useless, from the next request on."""
    with _tokens() as tokens:
        tokens.revoke(name)
    render.document({"revoked": name}) if as_json else render.facts([("revoked", name)])


@contextmanager
def _tokens() -> Iterator[TokenFile]:
    """Raises Refused, Misused."""
    from shared.access_tokens import TokenFile
    from shared.errors import CustomerError

    path = find_access_tokens(os.environ)
    try:
        yield TokenFile(path)
    except CustomerError as error:
        raise Refused(error.reason, error.message, error.facts) from error
    except OSError as error:
        raise Misused("TOKENS_UNREADABLE", f"{path}: {error.strerror}") from error


def find_access_tokens(environ: Mapping[str, str]) -> Path:
    """C360_ACCESS_TOKENS_FILE, else that of the embedded stack in C360_DATA_DIR. Raises Misused."""
    if named := environ.get("C360_ACCESS_TOKENS_FILE"):
        return Path(named)
    secrets = Path(environ.get("C360_DATA_DIR") or ".data") / "secrets"
    if not secrets.is_dir():
        raise Misused("TOKENS_MISSING", f"no folder {secrets}; C360_ACCESS_TOKENS_FILE or C360_DATA_DIR says where the tokens are")
    return secrets / "access-tokens.json"
