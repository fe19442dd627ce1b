"""Traffic as SDKs make it: batches over HTTP, sent again under the same message ids until they are answered."""

import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

REQUEST_TIMEOUT_S = 15.0  # as analytics-python
FIRST_RETRY_DELAY_S = 0.1
MAX_RETRY_DELAY_S = 1.0
LOGINS = 0.04  # share of events that join a device to a person
ANSWERS_LOST = 0.05  # share of batches whose answer gets lost on the way, so that they come again though they are stored
BY_DEVICE = 0.5  # share of the others that come from a device which may not be joined yet

Event = dict[str, Any]


@dataclass
class Ledger:
    """What was sent, by marker: the identifier it was sent under. Markers are message ids."""

    sent: dict[str, tuple[str, str]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    retries: int = 0


class Person:
    """Has a user id, and now and then a new device that first acts on its own and is joined by a login."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.devices = 0

    @property
    def device(self) -> str:
        return f"{self.user_id}-device-{self.devices}"


class Crowd:
    """Makes the events of some people. Not for more than one thread."""

    def __init__(self, name: str, size: int, choose: random.Random) -> None:
        self._people = [Person(f"{name}-{number}") for number in range(size)]
        self.choose = choose

    def batch(self, size: int) -> list[Event]:
        return [self._event(self.choose.choice(self._people)) for _ in range(size)]

    def _event(self, person: Person) -> Event:
        marker = str(uuid.uuid4())
        what = self.choose.random()
        if what < LOGINS:
            device = person.device
            person.devices += 1
            traits = {"marker": marker, "logins": person.devices}
            return {"type": "identify", "messageId": marker, "userId": person.user_id, "anonymousId": device, "traits": traits}
        who = {"anonymousId": person.device} if what < LOGINS + BY_DEVICE else {"userId": person.user_id}
        return {"type": "track", "messageId": marker, "event": "Marked", "properties": {"marker": marker}, **who}


class SenderFailed(AssertionError):
    """The door said something that no SDK expects."""


class Sender:
    """A thread that sends batches, one every `pause_s`, until `stop`; `finish` waits until its last batch is answered."""

    def __init__(self, url: str, write_key: str, crowd: Crowd, batch_events: int = 20, pause_s: float = 0.05) -> None:
        self.ledger = Ledger()
        self.failure: BaseException | None = None
        self._crowd = crowd
        self._batch_events = batch_events
        self._pause_s = pause_s
        self._client = httpx.Client(base_url=url, auth=(write_key, ""), timeout=REQUEST_TIMEOUT_S)
        self._stop = threading.Event()
        self._give_up = threading.Event()
        self.turn = threading.Lock()  # who holds it keeps this sender silent, with everything it sent answered
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def finish(self, patience_s: float) -> None:
        """Raises what went wrong. A batch that is still unanswered after the patience stays unacknowledged."""
        self._stop.set()
        self._thread.join(patience_s)
        self._give_up.set()
        self._thread.join(REQUEST_TIMEOUT_S)
        self._client.close()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause_s):
                with self.turn:
                    batch = self._crowd.batch(self._batch_events)
                    self._send(batch)
                    if self._crowd.choose.random() < ANSWERS_LOST:
                        self._send(batch)
        except BaseException as error:
            self.failure = error

    def _send(self, batch: list[Event]) -> None:
        self.ledger.sent.update((event["messageId"], _identifier(event)) for event in batch)
        answer = retrying(lambda: self._post(batch), self._give_up, self._count_retry)
        for result in answer["results"] if answer else ():
            if result["status"] not in ("accepted", "duplicate"):
                raise SenderFailed(f"an event was refused: {result}")
            self.ledger.acknowledged.add(result["messageId"])

    def _post(self, batch: list[Event]) -> Any:
        """The answer, or None: try again."""
        try:
            response = self._client.post("/v1/batch", json={"batch": batch})
        except httpx.TransportError:
            return None
        if response.status_code == 200:
            return response.json()
        if response.status_code == 429 or response.status_code >= 500:
            return None
        raise SenderFailed(f"HTTP {response.status_code}: {response.text}")

    def _count_retry(self) -> None:
        self.ledger.retries += 1


def _identifier(event: Event) -> tuple[str, str]:
    return ("user_id", event["userId"]) if "userId" in event else ("anonymous_id", event["anonymousId"])


def retrying(attempt: Callable[[], Any], give_up: threading.Event, count: Callable[[], None] = lambda: None) -> Any:
    """The first answer that isn't None; None when it was given up."""
    delay_s = FIRST_RETRY_DELAY_S
    while (answer := attempt()) is None:
        count()
        if give_up.wait(delay_s):
            return None
        delay_s = min(2 * delay_s, MAX_RETRY_DELAY_S)
    return answer
