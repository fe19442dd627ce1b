"""`c360 vault`: the keys that everything is sealed under. Needs the keyring, not a service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import render
from services.cli.endpoints import recorded_postgres
from services.cli.errors import Interrupted, Misused, NotReachable, Refused

if TYPE_CHECKING:
    from services.rotate import RotateSettings

app = typer.Typer(no_args_is_help=True, help="The keys that everything is sealed under. Run it where the keyring is.")

Retire = Annotated[bool, typer.Option("--retire", help="Forget all but the current key-encryption key instead.")]


@app.command()
def rotate(retire: Retire = False) -> None:
    """Add a key-encryption key and rewrap every data key under it, while the system runs.

    Ctrl-C interrupts it; the next call goes on. With --retire, older keys are forgotten for ever: backups of the vault
    that were made before the rotation become unreadable, which is what makes an erasure reach them.
    """
    import psycopg

    from services.rotate import StillWrapped, TooSoon, run

    try:
        render.note(run(settings(os.environ), retire))
    except StillWrapped as error:
        raise Refused("STILL_WRAPPED", str(error)) from error
    except TooSoon as error:
        raise NotReachable("TOO_SOON", str(error)) from error
    except psycopg.OperationalError as error:
        raise NotReachable("NOT_REACHABLE", "PostgreSQL does not answer") from error
    except KeyboardInterrupt:
        raise Interrupted("INTERRUPTED", "the next `c360 vault rotate` goes on from here") from None


@app.command()
def key() -> None:
    """Print the key that verifies certificates, as name+hash+key: give it to those who verify."""
    from shared.notes import SIGNER, verifier_key
    from shared.vault import FileKeyring

    print(verifier_key(SIGNER, FileKeyring(_keyring(os.environ)).public_key))


def settings(environ: Mapping[str, str]) -> RotateSettings:
    """C360_ADMIN_URL and C360_KEYRING_FILE, else those of the embedded stack in C360_DATA_DIR."""
    from services.rotate import RotateSettings
    from shared.config import ConfigError, read_settings

    if "C360_ADMIN_URL" in environ or "C360_ADMIN_URL_FILE" in environ:
        try:
            return read_settings(RotateSettings, environ)
        except ConfigError as error:
            raise Misused("SETTINGS_MISSING", str(error)) from error
    return RotateSettings(admin_url=embedded_admin_url(environ), keyring_file=str(_keyring(environ)))


def _keyring(environ: Mapping[str, str]) -> Path:
    path = Path(environ.get("C360_KEYRING_FILE") or _secrets(environ) / "keyring.json")
    if not path.exists():
        raise Misused("KEYRING_MISSING", f"no keyring at {path}; C360_KEYRING_FILE or C360_DATA_DIR says where it is")
    return path


def embedded_admin_url(environ: Mapping[str, str]) -> str:
    address = recorded_postgres(environ)
    password = _secrets(environ) / "postgres-superuser-password"
    if not password.exists():
        raise Misused("SETTINGS_MISSING", f"no superuser's password in {password}; C360_ADMIN_URL names one")
    return f"postgresql://postgres:{password.read_text().strip()}@{address}/postgres"


def _secrets(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("C360_DATA_DIR") or ".data") / "secrets"
