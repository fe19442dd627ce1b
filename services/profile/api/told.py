"""What a watcher was told last of each customer, so that the same isn't told twice and nobody is said to be gone who never was there."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

GONE = b"gone"
UNSENT = b""  # no tag
REMEMBERED = 20_000  # customers of a watcher, about 200 bytes each


class Told:
    """`others` says that the watcher may hold profiles that aren't remembered here: of an earlier watch."""

    def __init__(self, *, others: bool, most: int = REMEMBERED) -> None:
        self._others = others
        self._most = most
        self._tags: OrderedDict[bytes, bytes] = OrderedDict()

    def is_news(self, members: Sequence[bytes], tag: bytes) -> bool:
        """`tag` stands for what would be told of these, the canonical customer first. It counts as told."""
        for other in members[1:]:
            self._tags.pop(other, None)  # the watcher drops it, so it has to be told again after a split
        return self._keep(members[0], tag)

    def is_gone(self, members: Sequence[bytes], reason: str, *, named: bool) -> bool:
        """Whether it has to be told; of whom the watcher `named` always, once."""
        if not (named or self._others or any(member in self._tags for member in members)):
            return False
        # With the members: who was told that one is gone may still hold another whom she is joined with now.
        return self.is_news(members, GONE + reason.encode() + hashlib.blake2b(b"".join(members), digest_size=16).digest())

    def take_back(self, customer: bytes) -> None:
        """What was told of the canonical customer was not sent after all: the watcher may hold what was told before that."""
        self._tags[customer] = UNSENT

    def _keep(self, customer: bytes, tag: bytes) -> bool:
        before = self._tags.get(customer)
        self._tags[customer] = tag
        self._tags.move_to_end(customer)
        if len(self._tags) > self._most:
            self._tags.popitem(last=False)
            self._others = True
        return before != tag
