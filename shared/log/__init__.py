"""The log: append-only events in gapless partitions, with the consumed positions and the views in the same transaction."""

from shared.log.reader import LogReader, Stretch
from shared.log.records import Record
from shared.log.writer import LogWriter

__all__ = ["LogReader", "LogWriter", "Record", "Stretch"]
