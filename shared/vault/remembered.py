"""What a process remembers of keys: those that it used last ready for use, and of many more what they unwrap from.

A ready key is 3 KB, nearly all of it the cipher's state in both directions. Whose next event comes after those of some
thousand others is better asked of the wrapped key, which is a tenth of that, than of the database.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from shared.vault.envelope import DataKey
from shared.vault.keyring import KeyNotHeld, Keyring

READY_KEYS: Final = 4_000
READY_KEY_BYTES: Final = 3_000
WRAPPED_KEYS: Final = 40_000
WRAPPED_KEY_BYTES: Final = 400


class Wrapped(NamedTuple):
    wrapped: bytes
    key_id: str
    loaded_at: float


class RememberedKeys:
    """None is older than it may be: `oldest` is the instant that this one has to be loaded after."""

    def __init__(self, keyring: Keyring, ready: int = READY_KEYS, wrapped: int = WRAPPED_KEYS) -> None:
        self._keyring = keyring
        self._most_ready = ready
        self._most_wrapped = wrapped
        self._ready: OrderedDict[bytes, tuple[DataKey, float]] = OrderedDict()  # those used last at the end
        self._wrapped: OrderedDict[bytes, Wrapped] = OrderedDict()  # those loaded last at the end

    def __contains__(self, owner: bytes) -> bool:
        return owner in self._ready or owner in self._wrapped

    def find(self, owners: Iterable[bytes], oldest: float) -> dict[bytes, DataKey]:
        found = {}
        for owner in owners:
            if (held := self._ready.get(owner)) is not None and held[1] > oldest:
                found[owner] = held[0]
                self._ready.move_to_end(owner)
            elif (key := self._unwrapped(owner, oldest)) is not None:
                found[owner] = key
        return found

    def remember(self, owner: bytes, key: DataKey, stored: Wrapped, oldest: float) -> None:
        self._make_ready(owner, key, stored.loaded_at)
        self._wrapped[owner] = stored
        self._wrapped.move_to_end(owner)
        while self._wrapped and (len(self._wrapped) > self._most_wrapped or self._first.loaded_at <= oldest):
            self._wrapped.popitem(last=False)

    def forget(self, owners: Collection[bytes]) -> None:
        for owner in owners:
            self._ready.pop(owner, None)
            self._wrapped.pop(owner, None)

    def clear(self) -> None:
        self._ready.clear()
        self._wrapped.clear()

    @property
    def _first(self) -> Wrapped:
        return next(iter(self._wrapped.values()))

    def _make_ready(self, owner: bytes, key: DataKey, loaded_at: float) -> None:
        self._ready[owner] = key, loaded_at
        self._ready.move_to_end(owner)
        while len(self._ready) > self._most_ready:
            self._ready.popitem(last=False)

    def _unwrapped(self, owner: bytes, oldest: float) -> DataKey | None:
        """None too when it was wrapped anew since, and what it was wrapped under is retired."""
        if (stored := self._wrapped.get(owner)) is None or stored.loaded_at <= oldest:
            return None
        with suppress(KeyNotHeld):
            key = DataKey(self._keyring.unwrap(stored.wrapped, owner, stored.key_id))
            self._make_ready(owner, key, stored.loaded_at)
            return key
        return None
