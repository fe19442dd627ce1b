"""Holds what profile judged a read by against consent's own log, from outside: an altered copy deceives a read and its re-derivation alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from shared.consent_copies import copy_hash, purpose_hash
from shared.consent_rule import outlives_erasure
from shared.events.consent import DECISION_RECORDED, PURPOSE_DEFINED, DecisionRecorded, PurposeDefined, definition_stream
from shared.ids import to_text
from shared.instants import SECOND, from_timestamp
from shared.log.merkle import verify_inclusion
from shared.log.notes import open_checkpoint
from shared.log.raw import RawEvent
from shared.log.records import leaf_of
from shared.notes import NoteBroken

if TYPE_CHECKING:
    from c360.profile.v1 import disclosure_pb2 as pb

    from services.cli.remote_log import RemoteLog

Code = Literal[
    "DECISION_NOT_IN_LOG",  # profile knows one that consent never recorded so: made up, or altered
    "DECISION_MISSING",  # consent recorded one that profile doesn't know: removed, or altered
    "PURPOSE_NOT_IN_LOG",
    "PURPOSE_MISSING",
    "PURPOSE_OVERTAKEN",  # another version was in force long before the read
    "EVENT_UNPROVED",  # an event of consent's log isn't in the tree that consent signs, or its stream has a gap
]
COPIED: Final = {PURPOSE_DEFINED.id, DECISION_RECORDED.id}  # the evidence of signals stands in the same streams
PARTITION: Final = 0  # of consent's log, which has no other
READ_TAKES: Final = 900 * SECOND  # at most, from the purpose that it is for to its record; a call waits for ten minutes


class Compared(NamedTuple):
    """`events` of consent's log were compared; of them so many are `forgotten`: what was granted before an identifier was erased."""

    findings: list[Code]
    events: int
    forgotten: int


def compare(log: RemoteLog, answer: pb.RederiveDisclosureResponse) -> Compared:
    """As far as consent's log was known to the read."""
    read, found, forgotten = answer.disclosure, set[Code](), 0
    name, _, version = read.purpose_version.rpartition("@")
    purposes = to_text(definition_stream("purpose", name))
    size = read.consent_position.number + 1 if read.HasField("consent_position") else 0
    streams = [log.stream(PARTITION, copied.stream_id, size) for copied in answer.judged_by]
    for copied, events in zip(answer.judged_by, streams, strict=True):
        of_purpose, differing = copied.stream_id == purposes, _differing(copied, events)
        forgotten += differing.forgotten
        if differing.missing:
            found.add("PURPOSE_MISSING" if of_purpose else "DECISION_MISSING")
        if differing.made_up:
            found.add("PURPOSE_NOT_IN_LOG" if of_purpose else "DECISION_NOT_IN_LOG")
        if of_purpose and _newest(events, from_timestamp(read.read_time) - READ_TAKES) > int(version):
            found.add("PURPOSE_OVERTAKEN")
    if not _proved(log, streams):
        found.add("EVENT_UNPROVED")
    return Compared(sorted(found), sum(map(len, streams)), forgotten)


class _Differing(NamedTuple):
    missing: int
    made_up: int
    forgotten: int


def _differing(copied: pb.CopiedStream, events: Sequence[RawEvent]) -> _Differing:
    erased_at = from_timestamp(copied.erase_time) if copied.HasField("erase_time") else -1
    recorded = {_hash(event): event.entry.public() for event in events if event.entry.type_id in COPIED}
    lacking = [recorded[one] for one in recorded.keys() - {*copied.event_sha256s}]
    gone = sum(isinstance(one, DecisionRecorded) and not outlives_erasure(one, erased_at) for one in lacking)
    return _Differing(len(lacking) - gone, len({*copied.event_sha256s} - recorded.keys()), gone)


def _hash(event: RawEvent) -> str:
    public = event.entry.public()
    return (purpose_hash(public) if isinstance(public, PurposeDefined) else copy_hash(public, event.record.recorded_at)).hex()


def _newest(versions: Sequence[RawEvent], by: int) -> int:
    """Of a purpose; 0: none. A read that is under way when it is defined anew may be made by the version before."""
    return max((event.entry.public().version for event in versions if event.record.recorded_at <= by), default=0)


def _proved(log: RemoteLog, streams: Sequence[Sequence[RawEvent]]) -> bool:
    """Whether these are the streams from their beginning, in the tree that consent signs now."""
    if any([event.record.version for event in events] != list(range(1, len(events) + 1)) for events in streams):
        return False
    records = [event.record for events in streams for event in events]
    described = log.describe()
    try:
        signed = open_checkpoint(log.checkpoint(PARTITION), described.partitions[PARTITION].origin, described.public_key)
    except NoteBroken:
        return False
    paths = log.inclusions(PARTITION, signed.size, [one.pos for one in records])
    leaves = [leaf_of(one.entry, one.version, one.recorded_at) for one in records]
    return all(
        verify_inclusion(leaf, one.pos, signed.size, path, signed.root)
        for leaf, one, path in zip(leaves, records, paths, strict=True)
    )
