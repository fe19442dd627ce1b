"""Follows a partition by asking for what is new: the log has no NOTIFY, and its own followers go over NATS."""

from collections.abc import Iterator
from threading import Event
from typing import TYPE_CHECKING

from eventsourcing.persistence import Notification, Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.log.seam.recorder import PartitionRecorder

PAGE_EVENTS = 500
POLL_S = 0.1


class PollingSubscription(Subscription["PartitionRecorder"]):
    """Blocks for the next event until it is stopped, which any thread may do."""

    def __init__(self, recorder: "PartitionRecorder", gt: int | None = None, topics: "Sequence[str]" = ()) -> None:
        super().__init__(recorder, gt=gt, topics=topics)
        self._page: Iterator[Notification] = iter(())
        self._stopping = Event()

    def stop(self) -> None:
        super().stop()
        self._stopping.set()

    def __next__(self) -> Notification:
        while not self._stopping.is_set():
            for notification in self._page:
                self._last_notification_id = notification.id
                return notification
            page = self._recorder.select_notifications(
                self._last_notification_id, PAGE_EVENTS, topics=self._topics, inclusive_of_start=False
            )
            self._page = iter(page)
            if not page:
                self._stopping.wait(POLL_S)
        raise StopIteration
