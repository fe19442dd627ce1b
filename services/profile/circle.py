"""Whom a watch of customers who are named looks at again."""

from collections.abc import Collection, Mapping

from services.profile.hub import Hub, News
from services.profile.tables.rulebook import RULES_STREAM
from shared.instants import Clock
from shared.waiting import wait_for_news


class Circle:
    """Customers who are watched, each under all streams whose changes are its own, and from when on the clock may change it."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock
        self._news = News()
        self._streams: dict[bytes, frozenset[bytes]] = {}
        self._until: dict[bytes, int] = {}
        hub.watch([RULES_STREAM], self._news)

    def watch(self, members: Mapping[bytes, Collection[bytes]], until: int) -> None:
        """By customer. Who was looked at before it was watched is looked at again: a change between the two must not be missed."""
        for customer, found in members.items():
            streams, before = frozenset({customer, *found}), self._streams.get(customer, frozenset())
            self._streams[customer] = streams | before  # a split is told in both, so leaving one out later costs nothing
            self._until[customer] = until
            if fresh := streams - before:
                self._hub.watch(fresh, self._news)
                self._news.tell(customer)

    async def changed(self, timeout_s: float) -> set[bytes]:
        await wait_for_news(self._news.event, timeout_s)
        told, now = self._news.take(), self._clock()
        if RULES_STREAM in told:
            return set(self._streams)
        return {
            customer for customer, streams in self._streams.items() if self._until[customer] <= now or not streams.isdisjoint(told)
        }

    def leave(self) -> None:
        self._hub.leave({RULES_STREAM, *(stream for streams in self._streams.values() for stream in streams)}, self._news)
