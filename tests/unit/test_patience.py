"""Who waits for a server that hangs hears of it soon, and the work goes on."""

import asyncio

import pytest

from services.ingest import publisher
from services.ingest.publisher import Publisher
from shared.errors import Unavailable
from shared.waiting import Patience


async def test_what_is_done_in_time_is_answered() -> None:
    async def work() -> int:
        return 7

    assert await Patience(30).wait(work()) == 7


async def test_what_takes_too_long_goes_on_by_itself() -> None:
    go_on, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        done.set()

    with pytest.raises(Unavailable):
        await Patience(0.01).wait(work())
    go_on.set()
    await asyncio.wait_for(done.wait(), 10)


async def test_while_too_many_hang_no_more_are_begun() -> None:
    never, begun = asyncio.Event(), 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        await never.wait()

    patience = Patience(0.01, at_most=2)
    for _ in range(5):
        with pytest.raises(Unavailable):
            await patience.wait(work())
    assert begun == 2
    never.set()


class Gone:
    """A broker that isn't there, and how often it was tried."""

    is_connected = False
    tried = 0

    def jetstream(self, timeout: float) -> "Gone":
        return self


async def test_after_a_broker_was_given_up_it_is_tried_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "GIVE_UP_S", 0.5)
    monkeypatch.setattr(publisher, "PROBE_S", 0.01)
    monkeypatch.setattr(publisher, "RETRY_S", 0.02)
    broker = Gone()
    door = Publisher(broker, None, lambda: 0, lambda: b"i" * 16)  # type: ignore[arg-type]

    async def seal(events: list[bytes]) -> bytes:
        broker.tried += 1
        raise ConnectionError

    monkeypatch.setattr(door, "_seal", seal)
    with pytest.raises(Unavailable):
        await door.publish([b"event"])
    patient, broker.tried = broker.tried, 0
    with pytest.raises(Unavailable):
        await door.publish([b"event"])
    assert broker.tried == 1 < patient
