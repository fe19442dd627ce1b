"""`c360 audit`: checks the logs, keeps checkpoints, and packs evidence about one customer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import render
from services.cli.errors import Misused
from services.cli.options import AsJson, PersonRef, TimeoutS, parsed_by

if TYPE_CHECKING:
    from services.cli.verify import Checked, Progress

TIMEOUT_S = 30.0  # a damaged log makes a service look twice


def _key(text: str) -> bytes:
    from services.cli.verify import read_key

    return read_key(text)


Key = Annotated[
    bytes | None,
    typer.Option(
        "--key",
        metavar="KEY",
        parser=parsed_by(_key),
        help="The installation's public key as `c360 audit key` printed it when you trusted it. Default: what the services say.",
    ),
]

app = typer.Typer(no_args_is_help=True, help="Proofs: is the log what it was, and what was known about a customer?")


@app.command()
def verify(
    *,
    key: Key = None,
    kept: Annotated[
        list[Path] | None,
        typer.Option("--kept", metavar="PATH", help="A checkpoint that you kept, or a folder of them. Repeatable."),
    ] = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = TIMEOUT_S,
) -> None:
    """Check every event of every log: leaves, trees, heads, positions, versions, instants, checkpoints and their signatures.

    Exit code 0: nothing contradicts anything, 1: something does, and what is named. Of an event that no signed checkpoint covers
    yet (one is made every minute, by `c360 audit checkpoints`, and when this command is done), the tables alone speak. Each service
    is asked to sign what its log is, which it refuses when that isn't what it signed before.
    What was signed is known from the tables, and to a service while it runs. Whoever can write the databases could remove the newest
    checkpoints, make anew what only they covered, and have that signed after a restart; with the keyring, all of it at any time:
    only checkpoints that were kept elsewhere (`c360 audit checkpoints -o FOLDER`) tell, with --kept FOLDER.
    """
    from services.cli import verify as checks
    from services.cli.endpoints import LOGS

    notes = checks.read_kept(kept or [])
    keys: dict[str, bytes] = {}
    unused = list(notes)
    with _progress() as progress:
        checked = [part for log in LOGS for part in checks.check_log(log, keys, key, unused, progress, timeout_s)]
    checked += checks.unmatched(unused)
    if key is None and len(set(keys.values())) > 1:
        raise Misused("KEYS_DIFFER", "the services don't sign with the same key; say with --key which one is right")
    if as_json:
        render.document(checks.as_data(checked, keys))
    else:
        _show(checked, key is not None, bool(notes))
    if any(part.findings for part in checked):
        raise typer.Exit(1)


@app.command()
def checkpoints(
    folder: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Write one file each, for --kept.")
    ] = None,
    timeout_s: TimeoutS = TIMEOUT_S,
) -> None:
    """Sign what every partition of every log is now. Keep the answer where the operators of the system can't write."""
    from services.cli.client import connect
    from services.cli.endpoints import LOGS
    from services.cli.remote_log import RemoteLog

    for name, service in LOGS.items():
        with connect(service) as channel:
            log = RemoteLog(channel, timeout_s, name)
            for found in log.describe().partitions:
                note = log.checkpoint(found.partition)
                if folder is None:
                    sys.stdout.write(f"{note}\n")
                    continue
                folder.mkdir(parents=True, exist_ok=True)
                size = note.split("\n")[1]
                (folder / f"{name}-{found.partition}-{size}.checkpoint").write_text(note)


@app.command()
def key(timeout_s: TimeoutS = TIMEOUT_S) -> None:
    """Print the public key that checkpoints are signed with, for --key and for c360-verify."""
    import base64

    from services.cli.client import connect
    from services.cli.remote_log import RemoteLog

    with connect("profile") as channel:
        print(base64.b64encode(RemoteLog(channel, timeout_s).describe().public_key).decode())


@app.command()
def bundle(
    person: PersonRef,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; it must not exist.")],
    *,
    keyring: Annotated[Path | None, typer.Option(metavar="FILE", help="With --vault-url: put the customer's keys in, too.")] = None,
    vault_url: Annotated[
        str, typer.Option(envvar="C360_VAULT_URL", metavar="URL", help="PostgreSQL URL of the vault, of a role that may read it.")
    ] = "",
    timeout_s: TimeoutS = TIMEOUT_S,
) -> None:
    """Write one file with all events of a customer and the proofs that these are all there were; check it with c360-verify.

    It is sealed as it is in the log. With --keyring and --vault-url, whoever gets the file can read it.
    """
    from services.cli.bundle import make_bundle

    if keyring and not vault_url:
        raise Misused("VAULT_URL_MISSING", "the keyring opens keys that are in the vault: give --vault-url too")
    made = make_bundle(person, keyring, vault_url, timeout_s)
    try:
        with output.open("x") as file:
            file.write(made.text)
    except OSError as error:
        raise Misused("OUTPUT_NOT_WRITTEN", f"{output}: {error.strerror}") from error
    render.facts(
        [
            ("customer", made.customer),
            ("events", made.events),
            ("streams", made.streams),
            ("readable streams", made.readable),
            ("check it with", f"c360-verify {output} --key {made.public_key}"),
        ]
    )


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr, where people look."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from services.cli.verify import Progress as Steps

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("")
        yield Steps(lambda name, total: bar.reset(task, description=name, total=total), lambda count: bar.advance(task, count))


def _show(checked: list[Checked], trusted_key: bool, kept: bool) -> None:
    from services.cli.verify import where

    rows = [(c.name, str(c.events), str(c.signed), str(c.checkpoints), str(len(c.findings))) for c in checked]
    render.table("Logs", ("partition", "events", "of these signed", "checkpoints", "findings"), rows)
    found = [(c.name, where(f), f.code, f.text) for c in checked for f in c.findings]
    if found:
        render.table("What is wrong", ("partition", "position", "finding", "what"), found)
        return
    print(f"\n{verdict(sum(c.signed for c in checked), sum(c.events for c in checked), trusted_key, kept)}")


def verdict(signed: int, events: int, trusted_key: bool, kept: bool) -> str:
    """What is known when nothing was found, and no more than that."""
    lines = [f"nothing contradicts anything: {signed} of {events} events are covered by a signed checkpoint"]
    if signed < events:
        lines.append("the others could have been altered together with the tree; from now on they are signed as they are")
    if not trusted_key:
        lines.append("without --key, the signatures are checked with the key that the services say is theirs")
    if not kept:
        lines.append(
            "without --kept, whoever writes the databases could have made anew what the newest checkpoints covered, and removed"
            " these before a restart; with the keyring, all of it"
        )
    return "\n".join(lines)
