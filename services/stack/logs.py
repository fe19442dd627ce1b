"""The end of a log for a person: JSON lines as text, and the last exception in full."""

import json
from pathlib import Path
from typing import Any

TAIL_BYTES = 200_000  # an exception and what caused it can take twenty thousand
FRAME = ("event", "timestamp", "level", "exception")


def tail(path: Path, lines: int = 20) -> str:
    """The last lines, each on its own; a repeated exception is shown once, where it came last."""
    if not path.exists():
        return "(no log)"
    last = [_parse(line) for line in _last_lines(path)[-lines:]]
    failures = [number for number, entry in enumerate(last) if isinstance(entry, dict) and "exception" in entry]
    shown = [_show(entry, in_full=number in failures[-1:]) for number, entry in enumerate(last)]
    return "\n".join(shown) or "(empty log)"


def _last_lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        begin = max(0, path.stat().st_size - TAIL_BYTES)
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    return lines[1:] if begin and len(lines) > 1 else lines  # the first one may be the end of one


def _parse(line: str) -> str | dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    return entry if isinstance(entry, dict) and "event" in entry else line


def _show(entry: str | dict[str, Any], in_full: bool) -> str:
    if isinstance(entry, str):
        return entry
    facts = [f"{name}={value}" for name, value in entry.items() if name not in FRAME]
    line = " ".join(str(part) for part in (entry.get("timestamp"), entry.get("level"), entry["event"], *facts) if part)
    exception = str(entry.get("exception") or "").strip()
    if not exception:
        return line
    return f"{line}\n{exception}" if in_full else f"{line}: {exception.splitlines()[-1]}"
