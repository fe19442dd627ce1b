"""The commit before, as a folder of files: what an operator has who is about to upgrade."""

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from tests.compose.engine import ROOT

COMMIT = os.environ.get("C360_COMPOSE_FROM") or "HEAD^"
MIGRATIONS = ("services/*/migrations/*", "shared/vault/migrations/*")


class Impossible(Exception):
    """There is nothing to upgrade from; the text says why."""


@contextmanager
def earlier_checkout() -> Iterator[Path]:
    """Raises Impossible. Until the first release a migration may be changed in place, and no upgrade carries that."""
    if changed := _git("diff", "--name-only", "--diff-filter=MDR", COMMIT, "--", *MIGRATIONS).decode().split():
        raise Impossible(
            f"since {COMMIT} migrations were changed in place, as may be until the first release: {', '.join(changed)}"
        )
    with tempfile.TemporaryDirectory(prefix="c360-compose-") as folder:
        with tarfile.open(fileobj=BytesIO(_git("archive", COMMIT))) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def _git(*words: str) -> bytes:
    ran = subprocess.run(("git", "-C", ROOT, *words), capture_output=True, check=False)
    if ran.returncode != 0:
        raise Impossible(f"git {' '.join(words[:1])}: {ran.stderr.decode().strip()}")
    return ran.stdout
