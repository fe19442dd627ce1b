"""Documents that commands are given as files."""

from __future__ import annotations

import sys
from pathlib import Path

from services.cli.errors import Misused


def read_document(file: Path) -> str:
    """As it is, to the byte; `-` is what is piped in. Raises Misused (FILE_UNREADABLE)."""
    try:
        return (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misused("FILE_UNREADABLE", f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
