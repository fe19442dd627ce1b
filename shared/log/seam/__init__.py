"""The log behind the interfaces of the `eventsourcing` library: a seam for replay, commands and tools, not the hot path.

    application = Application[UUID](env={
        "PERSISTENCE_MODULE": "shared.log.seam",
        "LOG_DATABASE_URL": ..., "LOG_SCHEMA": "profile", "LOG_PARTITION": "2", "LOG_PARTITIONS": "4",
        "LOG_KEYS_TOPIC": "module:name of a KeySource",
    })

Reading needs no more. Before the first write, `application.recorder.claim()` takes the partition over, as LogWriter does.
What maps to what: docs/decisions/0007-eventsourcing-as-the-seam.md.
"""

from shared.log.seam.factory import LogFactory
from shared.log.seam.mapper import KeySource, LogEvent, SealingMapper
from shared.log.seam.projector import Replayed, projector
from shared.log.seam.recorder import PartitionRecorder, WriterFenced

__all__ = [
    "KeySource",
    "LogEvent",
    "LogFactory",
    "PartitionRecorder",
    "Replayed",
    "SealingMapper",
    "WriterFenced",
    "projector",
]
