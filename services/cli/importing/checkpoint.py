"""How far an import has come, in a small file that is replaced whole: after any end, an older or the newest one is there."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec

from services.cli.errors import Misused
from services.cli.importing.ledger import Counts

FORM = 1


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`content` is the file's SHA-256, `size_bytes` its size; `setup` is that of mapping and write key together. Rows before `row` have their verdict."""

    form: int = FORM
    content: str
    size_bytes: int
    setup: str
    row: int
    line: int
    offset: int
    counts: Counts
    rejects_bytes: int
    done: bool = False


def read(path: Path) -> Checkpoint | None:
    """Raises Misused (PROGRESS_BROKEN)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError):
        raise Misused("PROGRESS_BROKEN", f"{path} is not what an import wrote; --restart begins anew") from None


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Raises Misused (PROGRESS_UNWRITABLE)."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(checkpoint), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        message = f"{path.parent}: {error.strerror}; --state-dir names another folder for progress and rejects"
        raise Misused("PROGRESS_UNWRITABLE", message) from error


def setup_of(mapping: bytes, write_key: str) -> str:
    """Write keys are random, so that a hash gives nothing away."""
    return hashlib.sha256(hashlib.sha256(mapping).digest() + write_key.encode()).hexdigest()
