"""The end of a service's log, as a person gets to see it."""

import json
from pathlib import Path

from services.stack import logs

TRACEBACK = 'Traceback (most recent call last):\n  File "main.py", line 1\nValueError: the disk is "full"'


def written(directory: Path, *entries: object) -> Path:
    log = directory / "ingest.log"
    log.write_text("".join(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in entries))
    return log


def test_an_exception_is_shown_in_lines(tmp_path: Path) -> None:
    entry = {"event": "can't go on", "level": "critical", "timestamp": "2026-03-03T10:02:11Z", "exception": TRACEBACK, "pid": 7}
    assert logs.tail(written(tmp_path, entry)) == f"2026-03-03T10:02:11Z critical can't go on pid=7\n{TRACEBACK}"


def test_an_exception_that_repeats_is_shown_in_full_once(tmp_path: Path) -> None:
    shown = logs.tail(written(tmp_path, *[{"event": "can't go on", "exception": TRACEBACK}] * 5))
    assert shown.count("Traceback") == 1
    assert shown.count('ValueError: the disk is "full"') == 5


def test_what_is_no_log_entry_stays_as_it_is(tmp_path: Path) -> None:
    lines = ["ingest: set C360_DATABASE_URL", "[1, 2]", '{"event":', '{"a": 1}', "5"]
    assert logs.tail(written(tmp_path, *lines)).splitlines() == lines


def test_only_the_end_is_read_and_no_half_line_is_shown(tmp_path: Path) -> None:
    log = written(tmp_path, *({"event": "x" * 1000, "number": number} for number in range(500)))
    shown = logs.tail(log, lines=10_000).splitlines()
    assert len(shown) < 300
    assert all(line.startswith("x" * 1000) for line in shown)
    assert shown[-1].endswith("number=499")


def test_there_may_be_no_log(tmp_path: Path) -> None:
    assert logs.tail(tmp_path / "none.log") == "(no log)"
    assert logs.tail(written(tmp_path)) == "(empty log)"
