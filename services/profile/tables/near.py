"""What reads of many short streams made of them: a read as of a later instant folds only what happened in between.

A stream too short for a snapshot is folded from its beginning, and of who was merged a thousand times a thousand are. What is kept here can't
be overtaken: how much was known of a stream is told by its version, and what of that counts by the instant. It is in memory alone.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from services.profile.domain.rules import Keeping
from services.profile.tables.snapshots import Past
from shared.events.catalogue import encode
from shared.instants import END_OF_TIME

STREAMS_AT_LEAST: Final = 50  # of one read; fewer are folded in some ten milliseconds
KEPT_BYTES: Final = (
    16 * 1024 * 1024
)  # as states are written; in memory several times that. Of a thousand small ones it is a megabyte
FOLDED_AT_LEAST: Final = 500  # events since the point before: a nearer one would keep another out for little


class Point(msgspec.Struct, eq=False):
    """Streams as of `valid_at`, by a fold that keeps this: of each the version that it was known to have come to, and what it was."""

    valid_at: int
    keeping: Keeping
    streams: dict[bytes, tuple[int, Past]]
    size_bytes: int

    def of(self, lasts: Mapping[bytes, int]) -> dict[bytes, Past]:
        """Of the streams that had come to these versions."""
        found = {stream: self.streams[stream] for stream in lasts if stream in self.streams}
        return {stream: past for stream, (last, past) in found.items() if last == lasts[stream]}

    def __repr__(self) -> str:
        return f"<Point of {len(self.streams)} streams sealed>"


class Near:
    """None of what it is given, or gives, may change."""

    def __init__(self, streams_at_least: int = STREAMS_AT_LEAST, folded_at_least: int = FOLDED_AT_LEAST) -> None:
        self._streams_at_least = streams_at_least
        self._folded_at_least = folded_at_least
        self._points: OrderedDict[int, Point] = OrderedDict()  # by when each was kept; the one that was used last is the last
        self._number = 0
        self._size_bytes = 0

    def before(self, lasts: Mapping[bytes, int], valid_at: int, keeping: Keeping) -> tuple[int, dict[bytes, Past]]:
        """The nearest point by then, and what it has of streams that had come to these versions; none of them, where that is few."""
        if len(lasts) >= self._streams_at_least:
            usable = [(number, one) for number, one in self._points.items() if one.valid_at <= valid_at and one.keeping == keeping]
            for number, point in sorted(usable, key=lambda found: found[1].valid_at, reverse=True):
                if len(found := point.of(lasts)) >= self._streams_at_least:
                    self._points.move_to_end(number)
                    return point.valid_at, found
        return valid_at, {}

    def keep(self, valid_at: int, keeping: Keeping, lasts: Mapping[bytes, int], past: Mapping[bytes, Past], folded: int) -> None:
        """Of streams whose keys are there, that had come to these versions; so many events were folded for it."""
        if len(lasts) < self._streams_at_least or folded < self._folded_at_least:
            return
        size_bytes = sum(len(encode(past[stream].held.state)) for stream in lasts)
        self._number += 1
        self._points[self._number] = Point(valid_at, keeping, {s: (last, past[s]) for s, last in lasts.items()}, size_bytes)
        self._size_bytes += size_bytes
        while self._size_bytes > KEPT_BYTES:
            _, gone = self._points.popitem(last=False)
            self._size_bytes -= gone.size_bytes

    def changed(self, streams: Collection[bytes] | None) -> None:
        """Told of each stream that is another, so that nothing of an erased one stays; None: all."""
        if streams is None:
            self._points.clear()
            self._size_bytes = 0
            return
        for point in self._points.values():
            for stream in point.streams.keys() & set(streams):
                del point.streams[stream]


NOWHERE: Final = Near(streams_at_least=END_OF_TIME)  # keeps nothing
