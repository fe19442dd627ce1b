"""What is new in the log, for whoever keeps memberships: pages of all partitions, each customer of one once."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.profile.tables.late import Late
from shared.log import LogReader

PAGE_EVENTS: Final = 1_000  # of each partition, of which nothing but their streams is read
PAGE_STREAMS: Final = 100  # of each partition, whose states are looked at


class Page(msgspec.Struct, frozen=True):
    """By stream what there is to look at; where what comes after begins, of which partitions that is another place than before, and
    whether there is more already."""

    rows: Mapping[bytes, Late]
    heads: Mapping[int, int]
    moved: Mapping[int, int]
    more: bool


async def page(pool: Any, heads: Mapping[int, int], has_seen: Callable[[bytes, int], bool], streams: int = PAGE_STREAMS) -> Page:
    """From these positions on; of so many streams of each partition, without what a look at a stream has seen up to a position."""
    reader, rows, moved, more = LogReader(pool), dict[bytes, Late](), dict[int, int](), False
    for partition, first in heads.items():
        found = await reader.changes(partition, first, PAGE_EVENTS)
        wanted = [(pos, stream) for pos, stream in found if not has_seen(stream, pos)]
        taken = _of_few_streams(wanted, streams)
        counted = Counter(stream for _, stream in taken)
        for pos, stream in reversed(taken):
            rows[stream] = Late(customer=stream, partition=partition, pos=pos, events=counted[stream])
        if found:
            moved[partition] = (found[-1] if len(taken) == len(wanted) else taken[-1])[0] + 1
        more |= len(taken) < len(wanted) or len(found) >= PAGE_EVENTS
    return Page(rows, dict(heads) | moved, moved, more)


def _of_few_streams(found: Sequence[tuple[int, bytes]], at_most: int) -> Sequence[tuple[int, bytes]]:
    """The first of them."""
    streams = set[bytes]()
    for number, (_, stream) in enumerate(found):
        streams.add(stream)
        if len(streams) > at_most:
            return found[:number]
    return found
