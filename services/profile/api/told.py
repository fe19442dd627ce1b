"""What a watcher was told last of each customer, so that the same isn't told twice and nobody is said to be gone who never was there."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from services.profile.api.bounds import LISTED_AT_MOST

GONE = b"gone"
UNSENT = b""  # no tag
REMEMBERED = 20_000  # customers of a watcher, about 200 bytes each


class Tag(NamedTuple):
    """`shown`: the watcher knows of whom it was told."""

    of: bytes
    shown: bool


class Told:
    """`others` says that the watcher may hold profiles that aren't remembered here: of an earlier watch."""

    def __init__(self, *, others: bool, most: int = REMEMBERED) -> None:
        self._others = others
        self._most = most
        self._tags: OrderedDict[bytes, Tag] = OrderedDict()

    def is_news(self, members: Sequence[bytes], tag: bytes) -> bool:
        """`tag` stands for what would be told of these, the canonical customer first. It counts as told."""
        return self._keep(members, Tag(tag, shown=True))

    def was_shown(self, members: Sequence[bytes]) -> bool:
        """Whether it is remembered that the watcher was told of any of them by name."""
        return any(self._tags[member].shown for member in members if member in self._tags)

    def is_gone(self, members: Sequence[bytes], reason: str, *, by_name: bool) -> bool:
        """Whether it has to be told, once of each of them; not by name only to who may hold what isn't remembered here."""
        if not (by_name or self._others):
            return False
        tag, listed = Tag(GONE + reason.encode(), by_name), members[:LISTED_AT_MOST]
        news = any(
            self._tags.get(member) != tag for member in listed
        )  # of one she is joined with the watcher may still hold a profile
        for member in listed:
            self._put(member, tag)
        return news

    def take_back(self, customer: bytes) -> None:
        """What was told of the canonical customer was not sent after all: the watcher may hold what was told before that."""
        self._tags[customer] = Tag(UNSENT, shown=True)

    def _keep(self, members: Sequence[bytes], tag: Tag) -> bool:
        for other in members[1:]:
            self._tags.pop(other, None)  # the watcher drops it, so it has to be told again after a split
        before = self._tags.get(members[0])
        self._put(members[0], tag)
        return before != tag

    def _put(self, member: bytes, tag: Tag) -> None:
        self._tags[member] = tag
        self._tags.move_to_end(member)
        if len(self._tags) > self._most:
            self._tags.popitem(last=False)
            self._others = True
