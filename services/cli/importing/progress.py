"""How far an import has come, in a small file that is replaced whole: after any end, an older or the newest one is there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from services.cli.errors import Misused
from services.cli.importing.ledger import Counts

FORM = 1
Natural = Annotated[int, msgspec.Meta(ge=0)]


class Progress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`content` is the file's SHA-256, `size_bytes` its size; `setup` is that of mapping and write key together. Rows before `row` have their verdict."""

    form: int = FORM
    content: str
    size_bytes: Natural
    setup: str
    row: Natural
    line: Natural
    offset: Natural
    counts: Counts
    rejects_bytes: Natural
    done: bool = False


PROGRESS = msgspec.json.Decoder(Progress)


def read(path: Path) -> Progress | None:
    """Raises Misused (PROGRESS_BROKEN)."""
    try:
        return PROGRESS.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError):
        raise Misused("PROGRESS_BROKEN", f"{path} is not what an import wrote; --restart begins anew") from None


def write(path: Path, progress: Progress) -> None:
    """Raises Misused (PROGRESS_UNWRITABLE)."""
    temporary = path.with_name(f".{path.name}.part")  # one name for all: what a killed import leaves, the next one replaces
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(progress), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        message = f"{path.parent}: {error.strerror}; --state-dir names another folder for progress and rejects"
        raise Misused("PROGRESS_UNWRITABLE", message) from error


def keep(paths: Sequence[Path]) -> list[Path]:
    """Moves those that are there aside, all under the first number that is free: "a.progress.json" to "a.progress.1.json".

    Raises Misused (PROGRESS_UNWRITABLE).
    """
    number = 1
    while any(_numbered(path, number).exists() for path in paths):
        number += 1
    kept = []
    for path in paths:
        try:
            path.rename(_numbered(path, number))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Misused("PROGRESS_UNWRITABLE", f"{path.parent}: {error.strerror}") from error
        kept.append(_numbered(path, number))
    return kept


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def setup_of(mapping: bytes, write_key: str) -> str:
    """Write keys are random, so that a hash gives nothing away."""
    return hashlib.sha256(hashlib.sha256(mapping).digest() + write_key.encode()).hexdigest()
