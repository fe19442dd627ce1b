"""Where pages of histories ended: kept for a while, so that the next page reads nothing again of what came before it."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from services.profile.cache import Watcher
from services.profile.course import Pause, Walk
from services.profile.domain.clocks import Order

WALKS_KEPT: Final = 8  # what is known of customers, of one who was merged a thousand times some megabytes

Key = tuple[bytes, Order, int, int]  # and the version of the rules, and valid_at: by when what counts was recorded, versions tell


class Begun(msgspec.Struct, eq=False):
    """A walk, for as long as nothing comes to its streams: they had come to these versions by its end."""

    versions: Mapping[bytes, int]
    pauses: Sequence[Pause] = ()  # the earlier one first

    def at(self, instant: int) -> Pause | None:
        return next((pause for pause in reversed(self.pauses) if pause.holds_at(instant)), None)


class Pauses:
    """`watch` takes who is told of every stream that is another, before anybody else is: nothing of an erased one stays."""

    def __init__(self, watch: Callable[[Watcher], None]) -> None:
        self._begun: OrderedDict[Key, Begun] = OrderedDict()
        watch(self.changed)

    def changed(self, streams: Collection[bytes] | None) -> None:
        """None: all."""
        for key, begun in list(self._begun.items()):
            if streams is None or not begun.versions.keys().isdisjoint(streams):
                del self._begun[key]

    def find(self, walk: Walk) -> Begun | None:
        return self._begun.get(_key(walk))

    def begin(self, walk: Walk, versions: Mapping[bytes, int]) -> Begun:
        begun = self._begun[_key(walk)] = Begun(versions)
        self._begun.move_to_end(_key(walk))
        while len(self._begun) > WALKS_KEPT:
            self._begun.popitem(last=False)
        return begun


def _key(walk: Walk) -> Key:
    return walk.customer, walk.order, walk.rules.version, walk.until.valid_at
