"""How far this client's own writes have come, so that its reads include them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from customer360_client.protos.c360.common.v1.common_pb2 import Position


class Positions:
    """The newest of each log and partition, of which an installation has a fixed and small number. For all threads."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, int], int] = {}
        self._turn = threading.Lock()

    def note(self, positions: Iterable[Position]) -> None:
        with self._turn:
            for position in positions:
                place = (position.log, position.partition)
                if position.log:
                    self._newest[place] = max(position.number, self._newest.get(place, 0))

    def newest(self, more: Iterable[Position] = ()) -> list[Position]:
        """With those that somebody else was told, once each."""
        with self._turn:
            newest = dict(self._newest)
        for position in more:
            place = (position.log, position.partition)
            newest[place] = max(position.number, newest.get(place, 0))
        return [Position(log=log, partition=partition, number=number) for (log, partition), number in newest.items()]
