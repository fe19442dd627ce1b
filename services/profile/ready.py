"""Answers that are ready to be sent, as bytes, for as long as nothing that they were made from has changed.

What an answer was made from are the keys that were looked up in the caches for it, and it is dropped with the first of them: by the unit
that changes a state, the decision that binds an identifier, the key that is destroyed, before any of them is told as applied.
Besides it depends on the purpose, the rules in force, the lease and the clock, which are asked at every use.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection
from itertools import islice

import msgspec

from services.profile.domain.disclosure import Given
from services.profile.reading import Reading
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME, Clock

READY_BYTES = 64 * 1024 * 1024
OVERHEAD_BYTES = 1_000  # of an answer and its request, and a hundred of each key
KEY_BYTES = 100
FIELD_BYTES = 80
REQUEST_BYTES_AT_MOST = 512  # a larger one is answered anew each time: it would be held besides
CHANGES_KEPT = 200  # of what changed while an answer was made; a unit has three
CHANGED_KEYS_KEPT = 50_000  # of these in all; some MB
MOST_KEYS = 200  # a customer of more is made anew for each call, rather than looked for at each change


class Ready(msgspec.Struct, frozen=True):
    """`by_lease`: it may be served only while what consent decided is known."""

    answer: bytes
    purpose: PurposeDefined
    rules: object
    by_lease: bool
    given: Given | None = None  # what is written down of it each time; None: it is answered to nobody
    keys: frozenset[bytes] = frozenset()
    until: int = END_OF_TIME

    def __repr__(self) -> str:
        return "<Ready sealed>"

    @property
    def size(self) -> int:
        return len(self.answer) + OVERHEAD_BYTES + KEY_BYTES * len(self.keys) + _size_of(self.given)


def _size_of(given: Given | None) -> int:
    """About; names of fields are mostly in the answer too."""
    return 0 if given is None else FIELD_BYTES * len(given.terms.fields) + KEY_BYTES * len(given.members)


def always() -> bool:
    return True


class ReadyAnswers:
    """By request, as it came. `holds` says whether one may be served at this moment. None is, unless `is_told`: that it is dropped by what changes."""

    def __init__(self, holds: Callable[[Ready], bool], clock: Clock, most_bytes: int = READY_BYTES) -> None:
        self._holds = holds
        self._clock = clock
        self._most_bytes = most_bytes
        self._held: OrderedDict[bytes, Ready] = OrderedDict()
        self._by_key: defaultdict[bytes, set[bytes]] = defaultdict(set)
        self._bytes = 0
        self.is_told: Callable[[], bool] = always
        self.changes = 0  # an answer that was begun before the last of them isn't kept
        self._changed = deque[frozenset[bytes] | None]()  # by the last of them
        self._changed_keys = 0

    def find(self, request: bytes) -> Ready | None:
        ready = self._held.get(request)
        if ready is None or not self.is_told() or not self._holds(ready):
            return None
        if ready.until != END_OF_TIME and ready.until <= self._clock():
            self._forget(request)
            return None
        self._held.move_to_end(request)
        return ready

    def keep(self, request: bytes, ready: Ready, reading: Reading, since: int) -> None:
        """`since` is what `changes` was before anything was read for it."""
        if since != self.changes or len(reading.keys) > MOST_KEYS or len(request) > REQUEST_BYTES_AT_MOST:
            return
        ready = msgspec.structs.replace(ready, keys=frozenset(reading.keys), until=reading.until)
        self._forget(request)
        self._held[request] = ready
        self._bytes += ready.size
        for key in ready.keys:
            self._by_key[key].add(request)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._held)))

    def drop(self, keys: Collection[bytes] | None) -> None:
        """None: of all keys."""
        self.changes += 1
        self._note(keys)
        if keys is None:
            self._held.clear()
            self._by_key.clear()
            self._bytes = 0
            return
        for request in {request for key in keys if key in self._by_key for request in self._by_key[key]}:
            self._forget(request)

    def overtook(self, since: int, keys: Collection[bytes]) -> bool:
        """Whether any of these is another since `changes` was that, as far back as it is kept: what takes so long would only take longer."""
        last = islice(reversed(self._changed), self.changes - since)
        return any(changed is None or not changed.isdisjoint(keys) for changed in last)

    def _note(self, keys: Collection[bytes] | None) -> None:
        self._changed.append(None if keys is None else frozenset(keys))
        self._changed_keys += len(keys or ())
        while len(self._changed) > CHANGES_KEPT or (self._changed_keys > CHANGED_KEYS_KEPT and len(self._changed) > 1):
            self._changed_keys -= len(self._changed.popleft() or ())

    def _forget(self, request: bytes) -> None:
        if (ready := self._held.pop(request, None)) is None:
            return
        self._bytes -= ready.size
        for key in ready.keys:
            self._by_key[key].discard(request)
            if not self._by_key[key]:
                del self._by_key[key]
