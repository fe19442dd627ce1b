"""`c360-verify FILE`: exit code 0 when everything holds, 1 when not, 2 when the command was wrong."""

import argparse
import base64
import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from c360_verify import msgpack
from c360_verify.check import Event, Report, check
from c360_verify.refusal import Refused

KEY_BYTES = 32  # Ed25519
MAX_MB = 32  # some 20,000 events; small values nested in each other take 35 times their size when they are parsed
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        data = _read(options.file, options.max_mb * 1_000_000)
    except OSError as error:
        print(_printable(f"c360-verify: {options.file}: {error.strerror or error}"), file=sys.stderr)
        return 2
    try:
        report = check(data, options.key)
        lines = [_line(event) for event in report.events()] if options.events else _summary(options, report)
        text = "\n".join(_printable(line) for line in lines)
    except Refused as refusal:
        print(_printable(f"{options.file.name}: REFUSED: {refusal}"))
        return 1
    except MemoryError:
        print(_printable(f"{options.file.name}: REFUSED: it takes more memory than there is"))
        return 1
    _print(text)
    return 0


def _read(path: Path, most: int) -> bytes:
    """Raises OSError, also for what has no end or is larger than `most` bytes."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"it is larger than {most // 1_000_000} MB; if you expect that, raise --max-mb")
    return data


def _printable(text: str) -> str:
    """Nothing in it moves a cursor or hides what was printed."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="c360-verify", description="Check a bundle of evidence about one customer, offline.")
    parser.add_argument("file", type=Path, help="the bundle, as `c360 audit bundle` wrote it")
    parser.add_argument("--key", type=_key, help="the installation's public key (base64), got some other way than with the bundle")
    parser.add_argument(
        "--max-mb",
        type=_size,
        default=MAX_MB,
        metavar="MB",
        help=f"the largest file to read, default {MAX_MB}; takes up to 35 times as much memory",
    )
    parser.add_argument("--events", action="store_true", help="print the events, one JSON document a line, instead of the report")
    return parser


def _size(text: str) -> int:
    size = int(text)
    if not 0 < size <= 1_000_000:
        raise ValueError
    return size


def _key(text: str) -> bytes:
    with contextlib.suppress(ValueError):
        if len(key := base64.b64decode(text, validate=True)) == KEY_BYTES:
            return key
    raise argparse.ArgumentTypeError(f"a public key is {KEY_BYTES} bytes in base64")


def _print(text: str) -> None:
    """Who reads may stop before the end, as `head` does: what was found stays found."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _summary(options: argparse.Namespace, report: Report) -> Iterator[str]:
    events = list(report.events())
    sealed = [event for event in events if event.sealed]
    opened = [event for event in sealed if event.personal is not None]
    trust = "the key given with --key" if options.key else "a key that came with it; compare it, or give yours with --key"
    yield f"{options.file.name}: everything holds"
    yield f"customer   {report.customer}"
    yield f"signed by  {base64.b64encode(report.public_key).decode()} ({trust})"
    for tree in report.trees:
        yield f"log        {tree.name} at tree size {tree.size}, root {tree.root.hex()}"
    yield f"events     {len(events)} in {len(report.streams)} streams, each proved to stand in its log,"
    yield "           and signed to be all of these streams at these sizes"
    if events:
        yield f"recorded   {_instant(min(e.recorded_us for e in events))} to {_instant(max(e.recorded_us for e in events))}"
    yield f"readable   {len(opened)} of {len(sealed)} personal parts, with the keys in the bundle"


def _line(event: Event) -> str:
    shown = {
        "log": event.log,
        "partition": event.partition,
        "position": event.position,
        "stream": str(UUID(bytes=event.stream)),
        "version": event.version,
        "type": event.type,
        "recorded_at": _instant(event.recorded_us),
        "occurred_at": _instant(event.occurred_us),
        "public": _plain(msgpack.decode(event.header)),
        "personal": _plain(msgpack.decode(event.personal)) if event.personal is not None else "sealed" if event.sealed else None,
    }
    return json.dumps(shown, ensure_ascii=True)


def _plain(value: Any) -> Any:
    """Bytes as hexadecimal digits, so that it is JSON."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {_plain(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _instant(microseconds: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{microseconds} us since 1970"


if __name__ == "__main__":
    sys.exit(main())
