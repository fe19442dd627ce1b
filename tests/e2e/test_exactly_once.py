"""A message id seen once is never applied again, and the door says so, whatever restarts in between."""

import contextlib
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from services.stack.stack import Stack
from tests.e2e.client import DEADLINE_S, Platform, by_identifier

POLL_S = 0.05


class Sender:
    """Sends the same events again and again, and tells the verdicts on them."""

    def __init__(self, stack: Stack, platform: Platform, events: int = 5) -> None:
        self.user_id = f"u-{uuid.uuid4().hex[:8]}"
        self.write_key = platform.register_source(f"once-{self.user_id}")
        self.events = [
            {"type": "track", "event": f"Seen {n}", "userId": self.user_id, "messageId": f"m-{n}"} for n in range(events)
        ]
        self._platform = platform
        self._http = httpx.Client(base_url=stack.endpoints.ingest_http, auth=(self.write_key, ""), timeout=DEADLINE_S)

    def send(self) -> set[str]:
        """The statuses in the answer, which comes as soon as the door takes the events again."""
        give_up_at = time.monotonic() + DEADLINE_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = self._http.post("/v1/batch", json={"batch": self.events})
                if answer.status_code == 200:
                    return {result["status"] for result in answer.json()["results"]}
            assert time.monotonic() < give_up_at
            time.sleep(POLL_S)

    def close(self) -> None:
        self._http.close()

    def applied(self) -> Counter[str]:
        """What the timeline has, when everything that was answered is in it."""
        newest = self._platform.newest_position(self.write_key)
        timeline = self._platform.get_timeline(by_identifier("user_id", self.user_id), "audit", newest, kinds=("tracked",))
        return Counter(entry.name for entry in timeline)

    def once(self) -> Counter[str]:
        return Counter(str(event["event"]) for event in self.events)


@contextmanager
def sending(stack: Stack) -> Iterator[Sender]:
    with Platform(stack.endpoints) as platform:
        sender = Sender(stack, platform)
        try:
            yield sender
        finally:
            sender.close()


@contextmanager
def paused(stack: Stack, name: str) -> Iterator[None]:
    pid = stack.pid(name)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def restart(stack: Stack, *names: str) -> None:
    for name in names:
        stack.kill(name)
    stack.wait_ready(*names)


def test_what_is_sent_again_is_a_duplicate_whatever_was_restarted(own_stack: Stack) -> None:
    with sending(own_stack) as sender:
        with paused(own_stack, "identity"):
            assert sender.send() == {"accepted"}
            assert sender.send() == {"duplicate"}, "under way"
            restart(own_stack, "ingest")
            assert sender.send() == {"duplicate"}, "under way, and the process that took it is gone"
        assert sender.applied() == sender.once()
        assert sender.send() == {"duplicate"}, "applied"
        for victims in (["identity"], ["ingest"], ["identity", "ingest"], ["postgres", "ingest"], ["nats", "identity"]):
            restart(own_stack, *victims)
            assert sender.send() <= {"duplicate", "accepted"}  # accepted: the database of receipts was still away
            assert sender.applied() == sender.once()


def test_without_the_database_the_door_takes_what_it_can_not_look_up_and_nothing_doubles(own_stack: Stack) -> None:
    with sending(own_stack) as sender:
        sender.send()
        assert sender.applied() == sender.once()
        with paused(own_stack, "identity"):
            own_stack.kill("postgres")
            assert sender.send() <= {"accepted", "duplicate"}
            own_stack.wait_ready("postgres")
        give_up_at = time.monotonic() + DEADLINE_S
        while sender.send() != {"duplicate"}:  # the door asks again a second after a look-up that failed
            assert time.monotonic() < give_up_at
            time.sleep(POLL_S)
        assert sender.applied() == sender.once()


def test_of_two_equal_ids_in_a_request_the_first_counts(stack: Stack) -> None:
    with sending(stack) as sender:
        sender.events = [{**sender.events[0], "event": f"Seen {n}"} for n in range(3)]
        assert sender.send() == {"accepted", "duplicate"}
        assert sender.applied() == Counter(["Seen 0"])
