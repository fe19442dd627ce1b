"""Checks the live logs of all services, from outside: nothing is believed that can be computed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from c360.log.v1 import log_pb2 as pb

from services.cli.client import connect
from services.cli.endpoints import LOGS, SERVICES
from services.cli.errors import Misused
from services.cli.remote_log import RemoteLog, to_head
from shared.log.audit import PartitionAudit
from shared.log.findings import Code, Finding
from shared.log.raw import RawCheckpoint
from shared.notes import DASH

STEP_EVENTS = 1_000  # between two movements of the progress bar
MAX_DIGITS = 19  # of a tree size: positions are 63 bits


class Checked(NamedTuple):
    """One partition. `signed` is how many of its events are covered by a checkpoint that fits."""

    name: str
    events: int
    signed: int
    checkpoints: int
    findings: list[Finding]


class Progress(NamedTuple):
    """`begin(name, total)` tells of a partition, `step(count)` of events checked."""

    begin: Callable[[str, int], None]
    step: Callable[[int], None]


def check_log(
    log_name: str, keys: dict[str, bytes], key: bytes | None, kept: list[str], progress: Progress, timeout_s: float
) -> list[Checked]:
    """All partitions of one log. `keys` collects the services' keys; `kept` are checkpoints that the auditor has from before,
    and those of this log are taken out."""
    with connect(LOGS[log_name]) as channel:
        log = RemoteLog(channel, timeout_s, log_name)
        described = log.describe()
        keys[LOGS[log_name]] = described.public_key
        heads = {found.partition for found in described.partitions}
        checked = [
            _check_partition(log, log_name, found, key or described.public_key, described.partition_count, kept, progress)
            for found in described.partitions
        ]
        for partition in sorted({*range(described.partition_count)} - heads):
            checked.append(
                _wrong(f"{log_name}/{partition}", "PARTITION_MISSING", "its head is gone, so nothing in it can be checked")
            )
        for partition in sorted({*described.stored_partitions} - {*range(described.partition_count)}):
            said = f"the log has {described.partition_count} partitions, and its tables have something of this one"
            checked.append(_wrong(f"{log_name}/{partition}", "PARTITION_UNEXPECTED", said))
        return checked


def unmatched(kept: Iterable[str]) -> list[Checked]:
    """What is left of the kept checkpoints when all logs are checked: each was of something that is not there any more."""
    said = "this checkpoint was kept, and is of no partition that these logs have"
    return [_wrong(repr(note.partition("\n")[0])[1:-1], "KEPT_UNMATCHED", said) for note in kept]


def _wrong(name: str, code: Code, text: str) -> Checked:
    return Checked(name, 0, 0, 0, [Finding(code, None, None, text)])


def _check_partition(
    log: RemoteLog, service: str, found: pb.Partition, key: bytes, partitions: int, kept: list[str], progress: Progress
) -> Checked:
    partition, origin = found.partition, found.origin
    of_this = [note for note in kept if note.startswith(f"{origin}\n")]
    kept[:] = [note for note in kept if note not in of_this]
    # Checkpoints first: one that is made later may be of events that the head doesn't have yet.
    stored = [*log.checkpoints(partition)]
    head = next((to_head(now) for now in log.describe().partitions if now.partition == partition), to_head(found))
    audit = PartitionAudit(head, log.nodes(partition), [*stored, *map(_kept, of_this)], origin, key, partitions)
    progress.begin(f"{service}/{partition}", head.head.next_pos)
    count = 0
    for event in log.events(partition):
        audit.add(event)
        count += 1
        if count % STEP_EVENTS == 0:
            progress.step(STEP_EVENTS)
    progress.step(count % STEP_EVENTS)
    findings = audit.finish()
    if not stored:
        findings.append(Finding("CHECKPOINTS_MISSING", None, None, "all were removed: there is one from before the first event on"))
    # Last, so that `signed` is what was signed before.
    if refused := log.refusal(partition):
        findings.append(Finding("SIGNING_REFUSED", None, None, f"the service doesn't sign it any more: {refused}"))
    return Checked(f"{service}/{partition}", count, audit.verified, len(stored) + len(of_this), findings)


def _kept(note: str) -> RawCheckpoint:
    """As if it stood in the log, under the size that it claims."""
    size = note.split("\n")[1]
    return RawCheckpoint(int(size) if size.isascii() and size.isdigit() and len(size) <= MAX_DIGITS else -1, note)


def read_kept(paths: Iterable[Path]) -> list[str]:
    """Files of one checkpoint each, or folders of such. Raises Misused."""
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    notes = []
    for file in files:
        try:
            note = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise Misused("CHECKPOINT_UNREADABLE", f"{file}: {error}") from error
        if f"\n\n{DASH} " not in note:
            raise Misused("CHECKPOINT_UNREADABLE", f"{file} holds no signed checkpoint")
        notes.append(note)
    return notes


def read_key(text: str) -> bytes:
    """Raises ValueError."""
    key = base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError("a public key is 32 bytes in base64, as `c360 audit key` prints it")
    return key


def where(finding: Finding) -> str:
    if finding.first is None:
        return ""
    if finding.code == "EVENTS_SWAPPED":
        return f"{finding.first} and {finding.last}"
    return str(finding.first) if finding.first == finding.last else f"{finding.first} to {finding.last}"


def as_data(checked: Iterable[Checked], keys: dict[str, bytes]) -> dict[str, Any]:
    checked = list(checked)
    return {
        "partitions": [
            {"partition": c.name, "events": c.events, "signed": c.signed, "checkpoints": c.checkpoints, "findings": len(c.findings)}
            for c in checked
        ],
        "findings": [
            {"partition": c.name, "code": f.code, "first": f.first, "last": f.last, "what": f.text}
            for c in checked
            for f in c.findings
        ],
        "public_keys": {service: base64.b64encode(keys[service]).decode() for service in SERVICES if service in keys},
    }
