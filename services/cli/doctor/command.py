"""`c360 doctor`: what is wrong, in words, and what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from services.cli import render
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, TimeoutS

Backup = Annotated[
    list[Path] | None, typer.Option("--backup", metavar="PATH", help="A backup, or the folder of them; may be given several times.")
]
SAID = {"wrong": "WRONG", "soon": "SOON", "unseen": "not looked at"}


def doctor(backup: Backup = None, as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """Look at all services and servers, and say what is wrong and what to do. Changes nothing.

    Exit code 0: nothing is wrong, as far as was looked; 1: something is.
    Where it finds what has no door: C360_<SERVICE>_METRICS, C360_ADMIN_URL and C360_KEYRING_FILE, C360_NATS_MONITOR, C360_DATA_DIRS;
    of the embedded stack it knows by itself.
    """
    from services.cli.doctor import asking, proofs, servers
    from services.cli.doctor.finding import is_wrong

    environ, now = os.environ, proofs.wall()
    found = [
        *asking.services(timeout_s),
        *servers.postgres(environ, timeout_s),
        *servers.nats(environ, timeout_s),
        *servers.disks(environ),
        *proofs.token(environ, now),
        *proofs.certificates(environ, timeout_s, now),
        *proofs.backups(backup or [], now),
    ]
    found.sort(key=lambda one: list(SAID).index(one.severity))
    if as_json:
        render.document({"healthy": not is_wrong(found), "findings": [one._asdict() for one in found]})
    else:
        for one in found:
            first, *more = [*one.what.splitlines(), one.to_do]
            render.say(f"{SAID[one.severity]}: {one.subject}: {first}")
            for line in more:
                render.say(f"    {line}")
        render.say("something is wrong" if is_wrong(found) else "nothing is wrong, as far as was looked")
    if is_wrong(found):
        raise typer.Exit(1)
